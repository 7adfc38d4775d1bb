"""The only part that writes to the terminal."""

from ettin_cli.console.console import Console, quietly_closed
from ettin_cli.inert import inert

__all__ = ["Console", "inert", "quietly_closed"]
