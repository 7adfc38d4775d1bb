"""The only part that writes to the terminal."""

from ettin_cli.console.console import Console, Tally
from ettin_cli.inert import inert

__all__ = ["Console", "Tally", "inert"]
