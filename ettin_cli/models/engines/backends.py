"""The interface of a backend, and of the library that runs a model's graph."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

from ettin_cli.models.engines.onnx_export import WrittenModel
from ettin_cli.models.engines.settings import EngineSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ettin_cli.records import Floats

    Feeds = Mapping[str, NDArray[Any]]


class Run(Protocol):
    """One caller's use of a graph, with any number of threads."""

    def compute(self, outputs: Sequence[str], feeds: Feeds) -> list[Floats]:
        """Compute some outputs."""
        ...

    def stop(self) -> None:
        """Abort what this caller's threads compute, now and later, with an error."""
        ...


class Session(Protocol):
    """A loaded graph, which several callers may use concurrently."""

    def begin(self) -> Run:
        """Return a use of the graph that can be stopped without affecting any other."""
        ...


class Library(Protocol):
    """Loads graphs."""

    @property
    def backend(self) -> str:
        """The runtime, device and dtype, as shown in results."""
        ...

    @property
    def plain(self) -> bool:
        """Whether rotary embeddings must be written with standard ONNX operators.

        Attention is com.microsoft's MultiHeadAttention in any case.
        """
        ...

    def described(self) -> str:
        """Return its name, version and dtype."""
        ...

    def load(self, written: WrittenModel, threads: int, together: bool) -> Session:
        """Load a graph for so many threads, which share one batch or each run their own."""
        ...


class Backend(ABC):
    """A way to run models: one of `registry.BACKENDS`, or a plugin's.

    Attributes:
        name: Its name for `ettin bench --engine` and `EngineSettings`.
        title: Its name in a sentence.
        module: The Python module that must be installed.
    """

    name: str
    title: str
    module: str

    def installed(self) -> bool:
        """Return whether its module can be imported."""
        return find_spec(self.module) is not None

    @abstractmethod
    def problem(self, settings: EngineSettings) -> str | None:
        """Return why it cannot run any model with these settings; None if it can.

        The answer depends on the device, the dtype and what is installed.
        """

    def automatic(self, settings: EngineSettings) -> bool:
        """Return whether it is tried if no backend was requested."""
        return False

    @abstractmethod
    def library(self, settings: EngineSettings) -> Library | None:
        """Return the library that loads graphs; None if torch loads the model's own classes."""
