"""What a backend is, and the library that it computes a model's graph by."""

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
    """One caller's use of a graph, by any number of threads."""

    def compute(self, outputs: Sequence[str], feeds: Feeds) -> list[Floats]:
        """Compute some outputs."""
        ...

    def stop(self) -> None:
        """End what this caller's threads compute, now and later, with an error."""
        ...


class Session(Protocol):
    """A loaded graph, which several callers may use at once."""

    def begin(self) -> Run:
        """Return a use of the graph that is stopped without an effect on any other."""
        ...


class Library(Protocol):
    """What loads graphs."""

    @property
    def backend(self) -> str:
        """What results say of where they were computed."""
        ...

    @property
    def plain(self) -> bool:
        """Whether rotations are to be written by ONNX's own operators.

        Attention is com.microsoft's MultiHeadAttention in any case.
        """
        ...

    def described(self) -> str:
        """Return its name and version, and what it computes in."""
        ...

    def load(self, written: WrittenModel, threads: int, together: bool) -> Session:
        """Load a graph for so many threads, which share one batch or have one each."""
        ...


class Backend(ABC):
    """What computes models: one of `choosing.BACKENDS`, or another package's.

    Attributes:
        name: What `ettin bench --engine` and `EngineSettings` take for it.
        title: What it is called in a sentence.
        module: The module that has to be installed.
    """

    name: str
    title: str
    module: str

    def installed(self) -> bool:
        """Say whether it can be imported."""
        return find_spec(self.module) is not None

    @abstractmethod
    def problem(self, settings: EngineSettings) -> str | None:
        """Return why it cannot compute so, whatever the model; None if it can.

        It depends on the device, the dtype and what is installed.
        """

    def automatic(self, settings: EngineSettings) -> bool:
        """Say whether it is tried where no backend was asked for."""
        return False

    @abstractmethod
    def library(self, settings: EngineSettings) -> Library | None:
        """Return what loads graphs; None where torch is to load the model's own classes."""
