"""The process: signals, forks, plugins of other packages, and what is loaded once."""

from ettin_cli.runtime.forks import TOKENIZERS, Lock, Once, guard_children, hold_to_one_thread
from ettin_cli.runtime.loading import Loaded
from ettin_cli.runtime.plugins import Plugin, plugin_named, plugins
from ettin_cli.runtime.quiet import is_quiet, quieten

__all__ = [
    "TOKENIZERS",
    "Loaded",
    "Lock",
    "Once",
    "Plugin",
    "guard_children",
    "hold_to_one_thread",
    "is_quiet",
    "plugin_named",
    "plugins",
    "quieten",
]
