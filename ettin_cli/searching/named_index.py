"""An index by its folder, for a worker on another machine, which opens and checks it."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ettin_cli.errors import EttinError, IndexNotFoundError
from ettin_cli.index import Index
from ettin_cli.models import engine_of
from ettin_cli.models.engines import EngineSettings


@dataclass(frozen=True, slots=True)
class NamedIndex:
    """An index as a driver opened it; small and picklable.

    Args:
        folder: As the driver was given it; paths are from its working folder.
        generation: The name of the generation, which no other has.
    """

    folder: Path
    generation: str

    @classmethod
    def of(cls, index: Index) -> Self:
        """Return the name of an open index."""
        return cls(index.folder, index.manifest.generation)

    def open(self) -> Index:
        """Open the index here; the working folder is the driver's.

        Raises:
            EttinError: It is not here, cannot be read, or is of another generation.
        """
        host = socket.gethostname()
        try:
            index = Index(self.folder)
        except IndexNotFoundError as error:
            problem = f"{host} has no index {self.folder.absolute()}"
            raise EttinError(problem, code="not-shared", path=self.folder) from error
        if index.manifest.generation != self.generation:
            index.close()
            raise EttinError(
                f"{self.folder} on {host} has generation {index.manifest.generation}, but the "
                f"driver searches {self.generation}",
                code="index-updated",
                folder=self.folder,
            )
        return index


def search_engine(settings: EngineSettings) -> dict[str, str]:
    """Return what the answers of a search depend on besides the index and models, by name."""
    import faiss
    import numpy as np

    return {**engine_of(settings), "faiss": faiss.__version__, "numpy": np.__version__}
