"""Cut an index into shards, as a build in shards would write them."""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from ettin_cli.index import factories, token_lists_writer, writer
from ettin_cli.index.contents import VECTORS
from ettin_cli.index.manifest import (
    GENERATIONS,
    MANIFEST,
    SHARDS,
    Manifest,
    ShardRecord,
    write_manifest,
)
from ettin_cli.index.reader import Index
from ettin_cli.index.source_files import FileEntry
from ettin_cli.index.token_codes import TokenCodec
from ettin_cli.index.token_vectors import StoredTokens
from ettin_cli.index.vectors import EXACT
from ettin_cli.index.writer import BuildRecipe, Generation
from ettin_cli.storage import checksum


def cut(whole: Index, root: Path, shards: int, at: Sequence[int] = ()) -> Path:
    """Write an index of which each shard has some consecutive documents of another.

    Args:
        at: The documents that begin each shard after the first; evenly spaced without any.
    """
    ids = whole.passages.table.column("doc_id").to_pylist()
    begins = [row for row, name in enumerate(ids) if not row or ids[row - 1] != name]
    count = len(begins)
    firsts = [0, *(at or [count * shard // shards for shard in range(1, shards)]), count]
    rows = [*begins, len(ids)]
    records = []
    with _as_in(whole):
        for number, (first, end) in enumerate(pairwise(firsts)):
            folder = root / SHARDS / f"{number:04}-{secrets.token_hex(4)}"
            last = number == len(firsts) - 2
            made = _written(whole, folder, rows[first], rows[end], ids, last=last)
            path = folder / MANIFEST
            records.append(ShardRecord(folder.name, made.counts.passages, checksum(path)))
    manifest = replace(
        whole.manifest,
        generation=f"000001-{secrets.token_hex(4)}",
        files={},
        shards=tuple(records),
    )
    (root / GENERATIONS / manifest.generation).mkdir(parents=True)
    write_manifest(root, manifest)
    return root


def _written(
    whole: Index, folder: Path, begin: int, end: int, ids: list[str], *, last: bool
) -> Manifest:
    made = whole.manifest
    recipe = BuildRecipe(
        made.embedder,
        made.chunk_size,
        made.chunk_overlap,
        made.factory,
        language=made.language or "none",
        reading=made.reading,
        tokens=made.tokens.codec if made.tokens else None,
        token_lists=whole.token_lists is not None,
    )
    folder.mkdir(parents=True)
    # It closes the index whose vectors it reuses.
    generation = Generation(folder, recipe, Index(whole.folder))
    entries: list[FileEntry] = []
    table = whole.passages.table
    for entry in whole.files:
        first, stop = max(begin, entry.first), min(end, entry.first + entry.passages)
        here = first < stop
        if not entry.passages:
            here = begin <= entry.first < end or (last and entry.first >= end)
            stop = first = entry.first
        if not here:
            continue
        piece = replace(
            entry,
            first=generation.passages.rows,
            passages=stop - first,
            documents=len(set(ids[first:stop])),
        )
        if first != entry.first:
            piece = replace(piece, truncated=0, rejections=())
        generation.passages.copy(table.slice(first, stop - first), len(entries))
        entries.append(piece)
    missing = generation.missing()
    assert not missing.total
    if missing.tokens:
        missing.embed_tokens(lambda *_: pytest.fail("nothing is left to embed"))
    missing.finish()
    missing.write_lists()
    return generation.commit(entries, made.sources, len(set(ids[begin:end])))


@contextmanager
def _as_in(whole: Index) -> Iterator[None]:
    """Have shards built with the quantizer and the clusters of the whole."""
    clusters = token_lists_writer._clusters
    exact = factories.build

    def of_whole(_codes: Any, codec: TokenCodec) -> Any:
        assert isinstance(whole.tokens, StoredTokens)
        codes = np.asarray(whole.tokens.codes).reshape(-1, codec.width)
        return clusters(codes, codec)

    def build(vectors: Any, factory: str, path: Path) -> tuple[str, dict[str, int], float]:
        if factory in EXACT or not len(vectors):
            return exact(vectors, factory, path)
        index = faiss.read_index(str(whole.generation / VECTORS))
        index.reset()
        # FAISS forgets how large the fast kinds have been only when it reads them.
        index = faiss.deserialize_index(faiss.serialize_index(index))
        index.add(np.ascontiguousarray(vectors, np.float32))
        faiss.write_index(index, str(path))
        return factory, dict(whole.manifest.search), whole.manifest.recall

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(token_lists_writer, "_clusters", of_whole)
        patch.setattr(writer, "build", build)
        yield
