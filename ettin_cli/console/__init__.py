"""The only part that writes to the terminal."""

from ettin_cli.console.console import Console, destination
from ettin_cli.console.inert import inert
from ettin_cli.console.streams import quietly_closed
from ettin_cli.console.words import count, size

__all__ = ["Console", "count", "destination", "inert", "quietly_closed", "size"]
