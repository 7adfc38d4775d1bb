"""The only part that writes to the terminal."""

from ettin_cli.console.console import Console, Tally, destination
from ettin_cli.console.streams import quietly_closed
from ettin_cli.console.words import count, size
from ettin_cli.inert import inert

__all__ = ["Console", "Tally", "count", "destination", "inert", "quietly_closed", "size"]
