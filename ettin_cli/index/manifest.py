"""The manifest: which generation of an index is in force, how it was made, and its checksums."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ettin_cli.errors import EttinError, IndexDamagedError, IndexMismatchError, IndexNotFoundError
from ettin_cli.records import EmbedderCard
from ettin_cli.settings import INDEX_FORMAT
from ettin_cli.storage import replacing

MANIFEST = "manifest.json"
GENERATIONS = "generations"
WORK = "work"


@dataclass(frozen=True, slots=True)
class RecordedSource:
    """A source of the index and the options it was read with.

    Args:
        location: Absolute, or relative to the folder that holds the index when the source lies
            below that, so that both can be moved together; "-" is standard input.
    """

    location: str
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    id_field: str | None = None
    text_field: str | None = None


@dataclass(frozen=True, slots=True)
class FileRecord:
    """Size in bytes and XXH3 128-bit checksum of one file of a generation."""

    bytes: int
    checksum: str


@dataclass(frozen=True, slots=True)
class Counts:
    """What a generation holds; `truncated` passages are longer than the embedder reads."""

    files: int = 0
    documents: int = 0
    passages: int = 0
    rejected: int = 0
    truncated: int = 0


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything that must be known before an index can be used.

    Args:
        generation: Name of the folder below `generations/` that holds the files.
        created: ISO 8601 time in UTC.
        chunk_size: Tokens a passage, "auto", or None for whole documents.
        factory: The FAISS index factory string.
        asked: The factory string that was asked for; "auto" is settled anew by each run.
        recall: Measured share of the exact top 100 that the FAISS index finds, by queries as far
            from passages as questions are; 1.0 is exact.
        files: Every file of the generation by its name.
        language: Whose word endings the lexical part does without; None: there is no such part.
    """

    generation: str
    created: str
    version: str
    embedder: EmbedderCard
    chunk_size: int | str | None
    chunk_overlap: int
    factory: str
    recall: float
    search: Mapping[str, int]
    counts: Counts
    sources: tuple[RecordedSource, ...]
    files: Mapping[str, FileRecord] = field(default_factory=dict)
    asked: str = "auto"
    language: str | None = None
    format: int = INDEX_FORMAT


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Put a generation in force, in one step: readers see the old one or this one."""
    import orjson

    body = asdict(manifest)
    sealed = {**body, "checksum": _seal(body)}
    with replacing(folder / MANIFEST) as draft:
        draft.write_bytes(orjson.dumps(sealed, option=orjson.OPT_INDENT_2) + b"\n")


def read_manifest(folder: Path) -> Manifest:
    """Read and check the manifest of an index.

    Raises:
        IndexNotFoundError: There is no index in this folder, or the folder is a file.
        IndexMismatchError: A newer version wrote it.
        IndexDamagedError: It is not whole.
    """
    import orjson

    try:
        content = (folder / MANIFEST).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise not_an_index(folder) from None
    except OSError as error:
        path = folder / MANIFEST
        raise EttinError(
            f"cannot read {path}: {error.strerror}", code="cannot-read", path=path
        ) from error
    try:
        body = orjson.loads(content)
        version = body["format"]
        if isinstance(version, int) and version > INDEX_FORMAT:
            raise IndexMismatchError(
                f"{folder} has index format {version}, newer than the {INDEX_FORMAT} read here",
                code="newer-format",
                path=folder / MANIFEST,
                format=version,
            )
        if body.pop("checksum") != _seal(body):
            raise _damaged(folder)
        manifest = _parse(body)
        if not _stays_inside(manifest):
            raise _damaged(folder)
        return manifest
    except (orjson.JSONDecodeError, KeyError, AttributeError, TypeError) as error:
        raise _damaged(folder) from error


def _stays_inside(manifest: Manifest) -> bool:
    """Say whether all that a manifest names is below its folder; it may be a stranger's."""
    names = [manifest.generation, *manifest.files]
    return all(name == Path(name).name and name not in ("", "..") for name in names)


def not_an_index(folder: Path) -> IndexNotFoundError:
    """Return the error for a folder that holds no index."""
    if folder.exists() and not folder.is_dir():
        return IndexNotFoundError(
            f"{folder} is a file, not the folder of an index", code="not-an-index", folder=folder
        )
    return IndexNotFoundError(f"no index at {folder}", folder=folder)


def damaged(path: Path) -> IndexDamagedError:
    """Return the error for a damaged file of a generation."""
    return IndexDamagedError(f"{path} is damaged", folder=path.parents[2], path=path)


def with_files(manifest: Manifest, files: Mapping[str, FileRecord]) -> Manifest:
    """Return the manifest of a generation whose files are complete."""
    return replace(manifest, files=files)


def _seal(body: Mapping[str, Any]) -> str:
    import orjson
    import xxhash

    return xxhash.xxh3_128_hexdigest(orjson.dumps(body, option=orjson.OPT_SORT_KEYS))


def _damaged(folder: Path) -> IndexDamagedError:
    path = folder / MANIFEST
    return IndexDamagedError(
        f"{path} is damaged", code="manifest-damaged", folder=folder, path=path
    )


def _parse(body: dict[str, Any]) -> Manifest:
    body["embedder"] = EmbedderCard(**body["embedder"])
    body["counts"] = Counts(**body["counts"])
    body["sources"] = tuple(
        RecordedSource(
            **{**source, "include": tuple(source["include"]), "exclude": tuple(source["exclude"])}
        )
        for source in body["sources"]
    )
    body["files"] = {name: FileRecord(**record) for name, record in body["files"].items()}
    return Manifest(**body)
