"""The manifest of an index: the current generation, its build settings and checksums."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ettin_cli.errors import EttinError, IndexDamagedError, IndexMismatchError, IndexNotFoundError
from ettin_cli.index.token_codes import TokenCodec
from ettin_cli.platforms import persist
from ettin_cli.records import EmbedderCard
from ettin_cli.settings import AUTO, INDEX_FORMAT
from ettin_cli.storage import replacing

MANIFEST = "manifest.json"
GENERATIONS = "generations"
WORK = "work"
SHARDS = "shards"
# Names of shards, which are hashes of what they contain.
SHARD_NAME = re.compile(r"[0-9a-f]{16}(-\d+)?")


@dataclass(frozen=True, slots=True)
class RecordedSource:
    """A source of the index and the options it was read with.

    Args:
        location: Absolute, or relative to the folder that contains the index if the source is
            below it, so that both can be moved together; "-" is standard input.
        all_text: Whether content for machines is indexed too: data URIs, lock files and the like.
        main_content: Whether the boilerplate of saved pages is left out.
        ocr: Whether text is recognised in pictures: "auto", "always" or "never".
    """

    location: str
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    id_field: str | None = None
    text_field: str | None = None
    title_field: str | None = None
    all_text: bool = False
    encoding: str | None = None
    main_content: bool = False
    ocr: str = AUTO


@dataclass(frozen=True, slots=True)
class FileRecord:
    """Size in bytes and XXH3 128-bit checksum of one file of a generation."""

    bytes: int
    checksum: str


@dataclass(frozen=True, slots=True)
class Counts:
    """Totals of a generation; `truncated` passages exceed the embedder's token limit."""

    files: int = 0
    documents: int = 0
    passages: int = 0
    rejected: int = 0
    truncated: int = 0


@dataclass(frozen=True, slots=True)
class TokenVectors:
    """The token vectors of a generation.

    Args:
        bits: Bits a dimension.
        dimension: Dimension of a token vector.
        count: Number of token vectors stored.
        error: Mean difference that the compression makes to MaxSim, measured by the last build that
            embedded enough texts; None if none did.
    """

    bits: int
    dimension: int
    count: int
    error: float | None

    @property
    def codec(self) -> TokenCodec:
        """The compression."""
        return TokenCodec(self.dimension, self.bits)


@dataclass(frozen=True, slots=True)
class ShardRecord:
    """A shard of an index: an ordinary index over consecutive passages of the whole.

    Args:
        name: Its folder below `shards/`.
        passages: Number of its passages; the first follows the last one of the shard before.
        checksum: XXH3 128-bit checksum of its manifest file.
    """

    name: str
    passages: int
    checksum: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything needed before an index can be used.

    Args:
        generation: Name of the folder below `generations/` with the files.
        created: ISO 8601 time in UTC.
        chunk_size: Tokens per passage, "auto", or None for complete documents.
        factory: The FAISS index factory string.
        asked: The requested factory string; "auto" is resolved again by each run.
        recall: Measured share of the exact top 100 that the FAISS index finds, by queries as
            dissimilar to passages as questions are; 1.0 is exact.
        files: Every file of the generation by name.
        language: Language of the stemmer of the lexical part; None: there is no such part.
        reading: Version of how files become passages; 0 before there were versions.
        tokens: None if the index has no token vectors.
        shards: Its shards, in the order of their passages; the other values are then those of the
            whole. Empty: the passages are in the generation itself.
        asked_shards: The requested number of shards; None: as few as hold all passages.
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
    reading: int = 0
    tokens: TokenVectors | None = None
    shards: tuple[ShardRecord, ...] = ()
    asked_shards: int | None = None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Activate a generation atomically: readers see either the old one or this one."""
    import orjson

    body = asdict(manifest)
    for source in body["sources"]:
        usual = {"title_field": None, "all_text": False, "encoding": None, "main_content": False}
        for name, value in {**usual, "ocr": AUTO}.items():
            if (source[name] or value) == value:
                # Versions that do not know the option can read the index.
                del source[name]
    sealed = {**body, "checksum": _seal(body)}
    with replacing(folder / MANIFEST) as draft:
        draft.write_bytes(orjson.dumps(sealed, option=orjson.OPT_INDENT_2) + b"\n")


def read_manifest(folder: Path) -> Manifest:
    """Read and check the manifest of an index.

    Raises:
        IndexNotFoundError: The folder contains no index, or is a file.
        IndexMismatchError: It was written by a newer version.
        IndexDamagedError: It is damaged.
    """
    import orjson

    try:
        content = persist((folder / MANIFEST).read_bytes)
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
                f"{folder} has index format {version}, newer than the supported {INDEX_FORMAT}",
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
    """Return whether all paths of a manifest stay in its folder; it may come from a stranger."""
    names = [manifest.generation, *manifest.files, *(shard.name for shard in manifest.shards)]
    return all(
        name == Path(name).name and name not in ("", "..") and "\0" not in name for name in names
    )


def not_an_index(folder: Path) -> IndexNotFoundError:
    """Return the error for a folder that contains no index."""
    if folder.exists() and not folder.is_dir():
        return IndexNotFoundError(
            f"{folder} is a file, not the folder of an index", code="not-an-index", folder=folder
        )
    return IndexNotFoundError(f"no index at {folder}", folder=folder)


def damaged(path: Path, what: str = "is damaged") -> IndexDamagedError:
    """Return the error for a damaged file of a generation."""
    folder = whole_of(path.parents[2])
    return IndexDamagedError(f"{path} {what}", folder=folder, path=path)


def whole_of(folder: Path) -> Path:
    """Return the folder of the index that an index is a shard of, or its own.

    Paths in a shard are relative to the folder that contains the whole.
    """
    whole = folder.parent.parent
    if folder.parent.name != SHARDS:
        return folder
    try:
        named = {shard.name for shard in read_manifest(whole).shards}
    except EttinError:
        return folder
    return whole if folder.name in named else folder


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
    if body.get("tokens"):
        body["tokens"] = TokenVectors(**body["tokens"])
    body["shards"] = tuple(ShardRecord(**record) for record in body.get("shards", ()))
    return Manifest(**body)
