"""Compare an index in shards with one without."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from ettin_cli.index.manifest import read_manifest
from ettin_cli.index.reader import Index
from ettin_cli.index.salvage import damaged_files
from ettin_cli.searching.retrievers import DenseRetriever, LexicalRetriever
from tests.indexes import WordEmbedder

QUERIES = ["ferry 3", "text 1 tells", "file of"]


def litter(folder: Path) -> list[str]:
    """Return the files and folders that a completed run should have removed."""
    manifest = read_manifest(folder)
    kept = {"manifest.json", "generations", "lock", "work"} | (
        {"shards"} if manifest.shards else set()
    )
    found = [path.name for path in folder.iterdir() if path.name not in kept]
    found += [path.name for path in folder.glob("work/*/*")]
    names = {shard.name for shard in manifest.shards}
    found += [path.name for path in folder.glob("shards/*") if path.name not in names]
    for place in (folder, *folder.glob("shards/*")):
        current = read_manifest(place).generation
        found += [path.name for path in place.glob("generations/*") if path.name != current]
        if place != folder:
            found += {path.name for path in place.iterdir()} - {"manifest.json", "generations"}
    return found


def answers(index: Index) -> list[object]:
    """Return what the retrievers find, with the bits of the scores."""
    embedder = WordEmbedder(index.manifest.embedder)
    found: list[object] = []
    for retriever in (LexicalRetriever(index), DenseRetriever(index, embedder)):
        for query in QUERIES:
            [search] = retriever.searches([[query]])
            for depth in (1, 5, 100):
                ranked = search(depth, None)
                found.append((ranked.rows.tolist(), ranked.scores.tobytes()))
    return found


def assert_same(parted: Path, whole: Path) -> None:
    """Check that an index in shards is intact, and is what an index without shards is."""
    one, other = Index(parted), Index(whole)
    assert one.manifest.shards
    assert damaged_files(parted) == []
    assert litter(parted) == []
    rows = range(len(other.passages))
    assert one.read(rows) == other.read(rows)
    assert one.passages.column("file", rows) == other.passages.column("file", rows)
    assert [replace(entry, mtime_ns=0) for entry in one.files] == [
        replace(entry, mtime_ns=0) for entry in other.files
    ]
    assert np.array_equal(one.vectors, other.vectors)
    assert one.manifest.counts == other.manifest.counts
    assert one.manifest.sources == other.manifest.sources
    for name in ("factory", "asked", "search", "recall", "language", "reading"):
        assert getattr(one.manifest, name) == getattr(other.manifest, name), name
    assert answers(one) == answers(other)


def shards(folder: Path) -> list[str]:
    return [shard.name for shard in read_manifest(folder).shards]


def sizes(folder: Path) -> list[int]:
    return [shard.passages for shard in read_manifest(folder).shards]


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
