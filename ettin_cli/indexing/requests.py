"""A build request and an existing manifest -> the index's sources, embedder and chunking."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ettin_cli.clusters import Placement
from ettin_cli.corpus import located, require_encoding, require_ocr_mode
from ettin_cli.errors import IndexMismatchError, InvalidArgumentError
from ettin_cli.index import (
    BuildRecipe,
    Manifest,
    RecordedSource,
    TokenCodec,
    portable,
    require_bits,
    require_factory,
    usual_bits,
)
from ettin_cli.indexing.planning import base_of, record_source
from ettin_cli.models import (
    ModelFiles,
    check_trust,
    find_embedder,
    note_dimensions,
    read_card,
    token_dimension,
)
from ettin_cli.models.engines import EngineSettings
from ettin_cli.models.multi_vector import is_multi_vector
from ettin_cli.platforms import composed
from ettin_cli.records import EmbedderCard, Reporter
from ettin_cli.settings import AUTO, NONE
from ettin_cli.storage import STREAM, Stream
from ettin_cli.text import Chunking
from ettin_cli.text.lexical import ENGLISH, require_language


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """What the user asked `ettin index` to do; None keeps the existing setting.

    Args:
        add: Sources to add: paths, or a stream of JSONL.
        remove: Sources to drop.
        source: The options for reading new sources.
        dimensions: The number of leading dimensions of each vector to keep.
        token_vectors: "auto", "none", or bits a dimension.
        shards: "auto", "none", or the number of shards of a new index.
        only: Fail if the index has other sources than those to add.
        wait: Wait for another writer rather than fail.
        placement: Where texts are embedded in units; None: not in units.
        unit_rows: The number of texts of a unit.
    """

    folder: Path
    add: Sequence[str | Stream] = ()
    remove: Sequence[str] = ()
    source: RecordedSource = field(default_factory=lambda: RecordedSource(""))
    embedder: str | None = None
    dimensions: int | None = None
    token_vectors: str | None = None
    shards: str | None = None
    chunking: Chunking | None = None
    factory: str | None = None
    language: str | None = None
    settings: EngineSettings = field(default_factory=EngineSettings)
    offline: bool = False
    rebuild: bool = False
    dry_run: bool = False
    only: bool = False
    wait: bool = True
    placement: Placement | None = None
    unit_rows: int = 4096

    @property
    def stream(self) -> Stream | None:
        """The stream among the sources to add, if any."""
        return next((one for one in self.add if isinstance(one, Stream)), None)


def settle_sources(request: BuildRequest, manifest: Manifest | None) -> tuple[RecordedSource, ...]:
    """Return the sources of the index after the request.

    Raises:
        InvalidArgumentError: The encoding or the mode of OCR is unknown, no source is left, the
            index has other sources, a source to drop is not in the index, or records of a stream
            would be lost.
    """
    if request.source.encoding:
        require_encoding(request.source.encoding)
    require_ocr_mode(request.source.ocr)
    recorded = manifest.sources if manifest else ()
    known = _Recorded([source.location for source in recorded], base_of(request.folder))
    removed = [known.location_of(_location(text, request.folder)) for text in request.remove]
    for location, text in zip(removed, request.remove, strict=True):
        if location not in known.locations:
            raise InvalidArgumentError(
                f"{text} is not a source of {request.folder}",
                argument="remove",
                value=text,
                folder=request.folder,
            )
    dropped = set(removed)
    kept = {s.location: s for s in recorded if s.location not in dropped}
    added = [
        replace(one, location=known.location_of(one.location))
        for one in (record_source(one, request.folder, request.source) for one in request.add)
    ]
    kept |= {source.location: source for source in added}
    if request.only and (others := kept.keys() - {source.location for source in added}):
        raise InvalidArgumentError(
            f"{request.folder} is an index of other sources: {', '.join(sorted(others))}",
            argument="into",
            folder=request.folder,
        )
    if request.rebuild and STREAM in kept and request.stream is None:
        raise InvalidArgumentError(
            "a rebuild would lose the records from standard input, which only the index holds",
            code="stream-not-repeatable",
            folder=request.folder,
        )
    if not kept and not request.remove:
        raise InvalidArgumentError("no source to index", argument="sources", folder=request.folder)
    return tuple(kept.values())


def _location(text: str, folder: Path) -> str:
    """Return a source's location as the manifest records it, whether or not it exists."""
    return text if text == STREAM else portable(located(text), base_of(folder))


class _Recorded:
    """The locations of the sources of an index, whose names another system may have composed.

    Args:
        base: What relative locations are relative to.
    """

    def __init__(self, locations: Sequence[str], base: Path) -> None:
        self.locations = set(locations)
        self._composed = {composed(location): location for location in locations}
        self._base = base

    def location_of(self, location: str) -> str:
        """Return the location under which a source is recorded, or its own if it is not."""
        if location in self.locations:
            return location
        other = self._composed.get(composed(location), location)
        there = os.path.lexists(self._base / other)
        return location if there else other


@dataclass(frozen=True, slots=True)
class Division:
    """How the index of a run is divided into shards.

    Args:
        parts: The number of shards of a new index; None: as few as hold all passages.
    """

    parts: int | None = None


def settle_shards(request: BuildRequest, manifest: Manifest | None) -> Division | None:
    """Return how an index is divided; None if it has no shards.

    Raises:
        InvalidArgumentError: The number of shards is none.
        IndexMismatchError: The index is divided otherwise, and this is not a rebuild.
    """
    asked = request.shards
    if asked not in (None, AUTO, NONE) and not (asked.isdecimal() and int(asked)):
        raise InvalidArgumentError(
            f"{asked!r} is not a number of shards",
            argument="shards",
            value=asked,
            choices=[AUTO, NONE, "a number above 0"],
        )
    made = len(manifest.shards) if manifest else 0
    if asked is None:
        return Division(manifest.asked_shards) if manifest and made else None
    if manifest and not request.rebuild:
        if asked in (AUTO, NONE):
            same = (asked == AUTO) == (made > 0)
        else:
            # A shard may have been split since, or there were too few documents for so many.
            same = made > 0 and int(asked) in (made, manifest.asked_shards)
        if not same:
            raise IndexMismatchError(
                f"{request.folder} was built {_shards(made)}",
                folder=request.folder,
                shards=asked,
            )
    if asked == NONE:
        return None
    return Division(None if asked == AUTO else int(asked))


def _shards(number: int) -> str:
    return f"in {number} shard{'s' if number > 1 else ''}" if number else "without shards"


def settle_recipe(
    request: BuildRequest, manifest: Manifest | None, reporter: Reporter
) -> tuple[ModelFiles, BuildRecipe]:
    """Return the embedder and the build settings; those not requested keep their values.

    Raises:
        IndexMismatchError: The index was made with other settings, and this is not a rebuild.
        ModelError: The embedder needs custom code that is not trusted.
        InvalidArgumentError: The embedder has fewer dimensions.
        EttinError: FAISS does not accept the factory string.
    """
    name = request.embedder or (manifest.embedder.name if manifest else "auto")
    files = find_embedder(name, offline=request.offline, reporter=reporter)
    check_trust(files, request.settings)
    card = read_card(files, request.settings.max_length, request.dimensions)
    made = Chunking(manifest.chunk_size, manifest.chunk_overlap) if manifest else Chunking()
    chunking = request.chunking or made
    if manifest and card.weights == manifest.embedder.weights:
        card = _kept(card, manifest.embedder, request)
    if manifest and not request.rebuild:
        if difference := _difference(manifest.embedder, card):
            raise IndexMismatchError(
                f"{request.folder} was built {difference}",
                folder=request.folder,
                embedder=name,
                max_length=card.max_tokens if request.settings.max_length else None,
                dimensions=card.dimension if request.dimensions else None,
            )
        if chunking != made:
            raise IndexMismatchError(
                f"{request.folder} was built with {_described(made)}, not {_described(chunking)}",
                folder=request.folder,
                chunk_size=None if chunking.size == "auto" else chunking.size or "none",
                chunk_overlap=chunking.overlap,
            )
    factory = request.factory or (manifest.asked if manifest else "auto")
    require_factory(factory, card.dimension)
    language = request.language or (manifest and manifest.language) or ENGLISH
    require_language(language)
    if request.dimensions:
        note_dimensions(files, request.dimensions, reporter)
    tokens = _token_codec(request, manifest, files, card)
    lists = tokens is not None and is_multi_vector(files.folder)
    return files, BuildRecipe(
        card, chunking.size, chunking.overlap, factory, language, tokens=tokens, token_lists=lists
    )


def _token_codec(
    request: BuildRequest, manifest: Manifest | None, files: ModelFiles, card: EmbedderCard
) -> TokenCodec | None:
    """Return how token vectors are compressed; None if none are stored.

    Raises:
        InvalidArgumentError: The embedder has none, or they cannot have so many bits.
    """
    asked, dimension = request.token_vectors, token_dimension(files, card)
    made = manifest.tokens if manifest else None
    same = manifest is not None and manifest.embedder.weights == card.weights
    if asked is None and same:
        asked = str(made.bits) if made and dimension else NONE
    if asked == NONE or (asked in (None, AUTO) and not dimension):
        return None
    if not dimension:
        raise InvalidArgumentError(
            f"{card.name} with {card.dimension} dimensions and {card.max_tokens} tokens has no "
            "token vectors to store: that needs all-MiniLM-L6-v2 or a multi-vector model, with all "
            "dimensions and tokens",
            argument="token_vectors",
            value=asked,
        )
    if asked in (None, AUTO):
        return TokenCodec(dimension, usual_bits(dimension))
    bits = int(asked) if asked.isdecimal() else -1
    require_bits(bits)
    return TokenCodec(dimension, bits)


def _kept(card: EmbedderCard, made: EmbedderCard, request: BuildRequest) -> EmbedderCard:
    """Return an embedder's card with the limits of the existing index, unless requested."""
    if request.settings.max_length is None:
        card = replace(card, max_tokens=min(card.max_tokens, made.max_tokens))
    if request.dimensions is None:
        card = replace(card, dimension=min(card.dimension, made.dimension))
    return card


def _difference(made: EmbedderCard, now: EmbedderCard) -> str | None:
    """Return how an embedder differs from the one the index was made with; None if it does not."""
    if made.weights != now.weights:
        return (
            f"with embedder {made.name} ({made.weights[:12]}), not {now.name} ({now.weights[:12]})"
        )
    if made.max_tokens != now.max_tokens:
        return f"with {made.name} and a limit of {made.max_tokens} tokens, not {now.max_tokens}"
    if made.dimension != now.dimension:
        return f"with {made.dimension} dimensions of {made.name}, not {now.dimension}"
    if replace(now, name=made.name, revision=made.revision) != made:
        return f"with older prompts of {made.name}"
    return None


def _described(chunking: Chunking) -> str:
    if chunking.size is None:
        return "complete documents as passages"
    size = "sized for the embedder" if chunking.size == "auto" else f"of {chunking.size} tokens"
    return f"passages {size} (overlap {chunking.overlap})"
