"""Embed the texts of a generation that have no vector yet in units, by workers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ettin_cli.clusters import Placement, Unit, UnitFolder, Work, run_units
from ettin_cli.errors import OutputError
from ettin_cli.index import (
    UNIT_SUFFIX,
    UNITS,
    CodedTexts,
    Missing,
    Passages,
    Samples,
    TokenCodec,
    packed_unit,
    text_hashes,
)
from ettin_cli.models import NamedEmbedder, engine_of, with_tokens
from ettin_cli.records import Embedder, Reporter, TextTokens
from ettin_cli.storage import make_folder, replacing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ettin_cli.indexing.requests import BuildRequest
    from ettin_cli.records import Floats

# Texts that are tokenized at once.
PIECE_TEXTS = 1024


def embed_in_units(
    missing: Missing,
    placement: Placement,
    request: BuildRequest,
    reporter: Reporter,
    label: str,
) -> None:
    """Embed units of the missing texts of a generation, and take them from the files of the units.

    Raises:
        EttinError: Some units were given up; the files of the others are there for the next run.
    """
    import numpy as np

    generation = missing.generation
    work = Path(os.path.realpath(generation.shards.folder))
    make_folder(work)
    folder = UnitFolder(work / UNITS, UNIT_SUFFIX)
    units = list(_units(missing, request.unit_rows))
    # What earlier runs have done is not missing, whatever their units were.
    folder.begin({}, units, resume=True)
    with folder.removed_if_useless(units):
        rows = folder.root / f"rows-{generation.name}.npy"
        with replacing(rows) as draft, draft.open("wb") as file:
            np.save(file, missing.rows)
        card = generation.recipe.embedder
        job = EmbedUnits(
            NamedEmbedder(card, request.settings, request.offline, Path.cwd()),
            Path(os.path.realpath(missing.stored.path)),
            len(missing.stored),
            rows,
            missing.tokens.codec if missing.tokens else None,
            work,
            tuple(sorted(missing.sampled)),
        )
        run_units(job, units, folder, placement, reporter, label)
    for unit in units:
        part = folder.part(unit)
        if not missing.add_unit(unit.range.of(missing.rows), part):
            part.unlink()
            raise OutputError(f"{part} is damaged", code="index-unwritable", folder=folder.root)


@dataclass(frozen=True, slots=True)
class TextRange:
    """A range of the texts that are missing."""

    begin: int
    end: int

    @property
    def rows(self) -> int:
        """The number of texts."""
        return self.end - self.begin

    def of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the rows of the passages that have the texts, of those of all missing texts."""
        return rows[self.begin : self.end]


def _units(missing: Missing, rows: int) -> Iterator[Unit]:
    """Yield ranges of the missing texts, named by the texts.

    A unit keeps its number in a run that goes on after an interruption: it counts the texts of the
    index, not those that are missing.
    """
    import numpy as np
    import xxhash

    every = np.sort(missing.distinct.rows)
    codec = missing.tokens.codec if missing.tokens else None
    for begin in range(0, missing.total, rows):
        part = TextRange(begin, min(begin + rows, missing.total))
        texts = part.of(missing.rows)
        digest = xxhash.xxh3_64(repr(codec).encode())
        digest.update(missing.hashes[texts].tobytes())
        number = int(np.searchsorted(every, texts[0])) // rows
        yield Unit(number, digest.hexdigest(), part)


@dataclass(frozen=True, slots=True)
class EmbedUnits:
    """Embeds ranges of the missing texts of a generation; picklable.

    Args:
        passages: The file of its passages.
        count: Their number.
        rows: A file with the rows of the missing texts.
        codec: The compression of token vectors; None: none are stored.
        work: The folder of the vectors of an unfinished run.
        sampled: The rows of the texts whose exact token vectors are kept.
    """

    embedder: NamedEmbedder
    passages: Path
    count: int
    rows: Path
    codec: TokenCodec | None
    work: Path
    sampled: tuple[int, ...]

    def load(self, reporter: Reporter) -> tuple[Work, Mapping[str, str]]:
        """Load the embedder by name."""
        embedder = self.embedder.load(reporter)
        stored = Passages(self.passages, self.count)
        return partial(self._do, embedder, stored), engine_of(self.embedder.settings)

    def _do(
        self,
        embedder: Embedder,
        stored: Passages,
        texts: TextRange,
        part: BinaryIO,
        rejects: BinaryIO,
    ) -> Mapping[str, int]:
        import numpy as np

        rows = texts.of(np.load(self.rows, mmap_mode="r")).tolist()
        exact = [at for at, row in enumerate(rows) if row in self.sampled]
        coded = CodedTexts(self.codec, len(rows), exact) if self.codec else None
        vectors, hashes = [], []
        for begin in range(0, len(rows), PIECE_TEXTS):
            contents = stored.contents(rows[begin : begin + PIECE_TEXTS])
            vectors.append(_embedded(embedder, contents, coded, begin))
            hashes.append(text_hashes(contents))
        every = np.concatenate(hashes)
        if coded:
            Samples(self.work).add_all(every, coded)
        part.write(packed_unit(every, np.concatenate(vectors), coded))
        return {}


def _embedded(
    embedder: Embedder, texts: Sequence[str], coded: CodedTexts | None, begin: int
) -> Floats:
    """Return the vectors of some texts of a unit, and compress their token vectors.

    Args:
        begin: The number of texts of the unit before these.
    """
    if coded is None:
        return embedder.embed_documents(texts)

    def keep(at: int, text: TextTokens) -> None:
        coded.add(begin + at, text)

    vectors, cut = with_tokens(embedder).embed_tokens(texts, keep)
    coded.truncated[begin : begin + len(texts)] = cut
    return vectors
