"""Plugins: entry points of other installed packages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from ettin_cli.errors import EttinError, PluginError, first_line
from ettin_cli.runtime import interruption

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


@dataclass(frozen=True, slots=True)
class Plugin:
    """An entry point of another package, imported only when needed.

    Args:
        package: The package that declares it, with its version.
        what: What it adds, for messages: "the reader of .org files".
    """

    entry: EntryPoint
    package: str
    what: str

    def load(self) -> object:
        """Import the object of the entry point.

        Raises:
            PluginError: The import fails.
        """
        try:
            return self.entry.load()
        except Exception as error:
            if interruption.struck():
                raise
            raise PluginError(
                f"cannot load {self.what} from {self.package}: "
                f"{type(error).__name__}: {first_line(error)}",
                package=self._name,
            ) from error

    @contextmanager
    def failures(self, failed: str) -> Iterator[None]:
        """Report an exception in the package's own code in one line.

        Args:
            failed: What failed, for the message: "failed to score".

        Raises:
            PluginError: The code in the block fails.
        """
        try:
            yield
        except EttinError:
            raise
        except Exception as error:
            if interruption.struck():
                raise
            raise PluginError(
                f"{self.what} from {self.package} {failed}: "
                f"{type(error).__name__}: {first_line(error)}",
                package=self._name,
            ) from error

    def unfit(self, reason: str) -> PluginError:
        """Return an error for a loaded object of the wrong kind."""
        problem = f"{self.what} from {self.package}, {self.entry.value}, {reason}"
        return PluginError(problem, package=self._name)

    @property
    def _name(self) -> str:
        return self.package.split()[0]


@cache
def installed_plugins(group: str, what: str) -> Mapping[str, tuple[Plugin, ...]]:
    """Return the plugins of a group by lower-case name; looked up once per process.

    Args:
        group: For example `ettin.readers`.
        what: What each of them adds, for messages, with {} for its name.

    Raises:
        PluginError: The entry points of the installed packages cannot be read.
    """
    from importlib import metadata

    plugins: dict[str, tuple[Plugin, ...]] = {}
    try:
        for entry in metadata.entry_points(group=group):
            name = entry.name.lower().removeprefix(".")
            package = f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value
            plugins[name] = (*plugins.get(name, ()), Plugin(entry, package, what.format(name)))
    except Exception as error:  # any exception that damaged package metadata leads to
        if interruption.struck():
            raise
        raise PluginError(
            f"cannot read the entry points of installed packages: {first_line(error)}"
        ) from error
    return plugins


def plugin_named(group: str, what: str, name: str) -> Plugin | None:
    """Return the plugin of this name; None if there is none.

    Raises:
        PluginError: Several packages declare a plugin of this name.
    """
    plugins = installed_plugins(group, what).get(name, ())
    if len(plugins) > 1:
        packages = " and ".join(sorted(plugin.package for plugin in plugins))
        raise PluginError(f"{packages} each have {plugins[0].what}", code="plugins-clash")
    return plugins[0] if plugins else None
