"""The calls of a session that find public collections by name."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ettin_cli.api.base import SessionBase
from ettin_cli.storage import Stream

if TYPE_CHECKING:
    from ettin_cli.collections import OpenCollection


class CollectionCalls(SessionBase):
    """Find public collections, and download them to the cache of the hub."""

    def collection(
        self, name: str | os.PathLike[str], *, split: str | None = None
    ) -> OpenCollection | None:
        """Return a public collection; None for a path, or a name that is not of this form.

        Its `queries`, `qrels` and `corpus`, the files of its documents, are downloaded when they
        are first used.

        Args:
            name: As in "beir/scifact", or with a split of the judgements, "beir/scifact:train".
            split: The split if the name has none; None: the one that is usual to evaluate on.

        Raises:
            CorpusError: There is no such collection.
        """
        from ettin_cli.collections import is_collection_name, open_collection

        text = Path(name).as_posix()
        if not is_collection_name(text) or Path(name).exists():
            return None
        if split and ":" not in text:
            text = f"{text}:{split}"
        return open_collection(text, offline=self.models.offline, reporter=self.models.reporter)

    def sources(self, sources: Iterable[str | os.PathLike[str] | Stream]) -> list[str | Stream]:
        """Return sources as paths: those of its files for a collection.

        Raises:
            CorpusError: There is no such collection, or it cannot be downloaded.
        """
        paths: list[str | Stream] = []
        for source in sources:
            found = None if isinstance(source, Stream) else self.collection(source)
            if found is not None:
                paths += map(str, found.corpus)
            else:
                paths.append(source if isinstance(source, Stream) else os.fspath(source))
        return paths
