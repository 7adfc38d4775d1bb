"""Writers from other packages, imported when their format is requested.

An entry point of the group `ettin.writers` is named after its format and refers to an instance of
a `TextWriter` or a `BinaryWriter`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, BinaryIO

from ettin_cli.errors import EttinError, PluginError, first_line
from ettin_cli.files.writers.writer import BinaryWriter, Layout, TextWriter
from ettin_cli.records import Answer
from ettin_cli.runtime import Plugin, installed_plugins, interruption, plugin_named

GROUP, WHAT = "ettin.writers", "the writer of {}"


def plugin_formats() -> list[str]:
    """Return the names of the formats that plugins declare."""
    return sorted(installed_plugins(GROUP, WHAT))


def plugin_writer(format: str) -> TextWriter | BinaryWriter | None:
    """Return the plugin's writer for a format; None if there is none.

    Raises:
        PluginError: The plugin cannot be loaded, or two plugins declare the format.
    """
    plugin = plugin_named(GROUP, WHAT, format)
    return None if plugin is None else _loaded(plugin, format)


def plugin_for(suffix: str) -> TextWriter | BinaryWriter | None:
    """Return the plugin's writer for a file suffix; None if there is none.

    Raises:
        PluginError: A plugin cannot be loaded, or two plugins have the suffix.
    """
    writers = [plugin_writer(name) for name in plugin_formats()]
    matching = [writer for writer in writers if writer and suffix in writer.suffixes]
    if len(matching) > 1:
        names = " and ".join(writer.name for writer in matching)
        raise PluginError(f"the formats {names} have the suffix {suffix}", code="suffix-ambiguous")
    return matching[0] if matching else None


def plugin_notices(names: Collection[str]) -> list[str]:
    """Return a notice for each plugin that is not used because of these names."""
    return [
        f"{plugin.what} from {plugin.package} is not used: {name} is built in"
        for name, plugins in sorted(installed_plugins(GROUP, WHAT).items())
        for plugin in plugins
        if name in names
    ]


@cache
def _loaded(plugin: Plugin, format: str) -> TextWriter | BinaryWriter:
    writer = plugin.load()
    if not isinstance(writer, (TextWriter, BinaryWriter)):
        kind = type(writer).__name__
        raise plugin.unfit(f"is a {kind}, not an instance of a TextWriter or a BinaryWriter")
    if getattr(writer, "name", None) != format:
        raise plugin.unfit(f"has the name {getattr(writer, 'name', None)!r}")
    if isinstance(writer, BinaryWriter):
        return _Binary(writer, plugin)
    return _Text(writer, plugin)


@contextmanager
def _failures(plugin: Plugin) -> Iterator[None]:
    """Turn any exception of a plugin into one line, except errors that writing the file raises.

    Raises:
        PluginError: The plugin failed.
    """
    try:
        yield
    except (EttinError, OSError):
        raise
    except Exception as error:
        if interruption.struck():
            raise
        raise PluginError(
            f"{plugin.what} from {plugin.package} fails: {type(error).__name__}: "
            f"{first_line(error)}"
        ) from error


class _Text(TextWriter):
    """A plugin's text writer whose failures are reported in one line."""

    def __init__(self, writer: TextWriter, plugin: Plugin) -> None:
        self.writer, self.plugin = writer, plugin
        self.name, self.suffixes, self.is_run = writer.name, writer.suffixes, writer.is_run

    def begin(self, layout: Layout) -> bytes:
        with _failures(self.plugin):
            return _bytes(self.writer.begin(layout))

    def answer(self, answer: Answer, layout: Layout, *, first: bool) -> bytes:
        with _failures(self.plugin):
            return _bytes(self.writer.answer(answer, layout, first=first))

    def end(self, layout: Layout) -> bytes:
        with _failures(self.plugin):
            return _bytes(self.writer.end(layout))


class _Binary(BinaryWriter):
    """A plugin's binary writer whose failures are reported in one line."""

    def __init__(self, writer: BinaryWriter, plugin: Plugin) -> None:
        self.writer, self.plugin = writer, plugin
        self.name, self.suffixes, self.is_run = writer.name, writer.suffixes, writer.is_run

    def write(self, rows: Iterable[dict[str, Any]], file: BinaryIO, layout: Layout) -> None:
        with _failures(self.plugin):
            self.writer.write(rows, file, layout)


def _bytes(content: object) -> bytes:
    if not isinstance(content, bytes):
        raise TypeError(f"{type(content).__name__} returned where bytes are needed")
    return content
