"""Build or update an index in shards: each shard is an index that only this run writes.

The shards of a run are complete folders with names that tell their contents, so an interrupted run
goes on with those that are there.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ettin_cli.clusters import one_cluster
from ettin_cli.index import (
    AUTO_EXACT,
    CLUSTERS,
    DRAFTS,
    EXACT,
    QUANTIZER,
    SHARDS,
    WORK,
    BuildRecipe,
    FileEntry,
    Generation,
    Index,
    IntactParts,
    JoinedTokens,
    JoinedVectors,
    Manifest,
    RecordedSource,
    SearchedBy,
    ShardedGeneration,
    Shared,
    VectorPart,
    clusters_of,
    finish,
    forget_unfinished,
    intact_leftovers,
    is_complete,
    is_finished,
    read_manifest,
    record_search,
    require_divisible,
    require_intact,
    resolved,
    shard_name,
    trained,
    tuned,
    write_index,
)
from ettin_cli.indexing.building import BuildReport, Embedding
from ettin_cli.indexing.drafts import MOST_PASSAGES, Draft, Drafts, OldShards
from ettin_cli.indexing.planning import IndexPlan
from ettin_cli.indexing.reading import CorpusReader
from ettin_cli.indexing.requests import BuildRequest, Division
from ettin_cli.models import ModelFiles
from ettin_cli.records import Rejection, Reporter
from ettin_cli.runtime import Loaded
from ettin_cli.text.lexical import Terms

if TYPE_CHECKING:
    import pyarrow as pa

    from ettin_cli.index import Stored, StoredTokens

# The search parameters are chosen anew when so large a share of the passages is in new shards.
TUNED_SHARE = 0.1


def opened_shards(index: Index) -> OldShards:
    """Return the shards of an index, each opened."""
    # A copy of the quantizer would hide damage of it.
    require_intact(index.folder, shards=False)
    shared = Shared.of(index.folder, index.manifest)
    folders = [index.folder / SHARDS / shard.name for shard in index.manifest.shards]
    return OldShards(index.manifest, [Index(folder) for folder in folders], shared)


class ShardedBuild:
    """A run that makes the shards that are missing.

    Args:
        division: How a new index is divided.
        before: The manifest of the index before the run, if there is one.
        old: The shards of before; None: there are none, or all is made anew.
    """

    def __init__(
        self,
        request: BuildRequest,
        recipe: BuildRecipe,
        files: ModelFiles,
        division: Division,
        before: Manifest | None,
        old: OldShards | None,
        reporter: Reporter,
        loaded: Loaded | None = None,
    ) -> None:
        require_divisible(recipe.factory)
        self.request, self.recipe, self.files = request, recipe, files
        self.before, self.old, self.reporter = before, old, reporter
        self.parts = division.parts if old is None else old.manifest.asked_shards
        self.embedding = Embedding(files, recipe.embedder, request, reporter, loaded)
        self.folder = request.folder
        self.embedded = self.reused = 0
        self.kept = old.shared if old and recipe.makes(old.manifest) else Shared()
        exact = recipe.factory if recipe.factory in EXACT else AUTO_EXACT
        self.exact_recipe = replace(recipe, factory=exact, token_lists=False)
        self.named = {shard.name for shard in before.shards} if before else set()
        # A rebuild takes nothing from the shards in force, not even one that has the same content.
        self.taken = self.named if old is None else ()
        # Shards of an interrupted run with vectors of the same embedder.
        self.made: list[Path] = []
        # Old shards that are not kept: a text that has moved was in one of them.
        self.changing: list[Index | IntactParts] = []

    def finish(self, plan: IndexPlan, sources: tuple[RecordedSource, ...]) -> BuildReport:
        """Read, embed and commit; on any failure the index stays unchanged."""
        with self._drafts() as sink:
            before = len(self.old.manifest.sources) if self.old else 0
            reader = CorpusReader(
                *(self.request, self.recipe, self.files, plan, self.reporter, sink),
                self._rows,
                before,
            )
            try:
                reader.read_all(sources)
            finally:
                reader.close()
            manifest, rejections = self._commit(sink, sources)
        reader.recognized.clear()
        return BuildReport(
            plan,
            manifest,
            written=True,
            embedded=self.embedded,
            reused=self.reused,
            rejections=[*plan.rejections, *rejections],
            left_out=reader.left_out,
            notices=reader.notices,
            recognized=(reader.recognizer.pages, reader.recognizer.files),
        )

    def complete(self, sources: tuple[RecordedSource, ...]) -> BuildReport:
        """Make damaged shards again from the rows of all, without reading any file."""
        assert self.old
        with self._drafts() as sink:
            for entry in self.old.files:
                sink.copy(entry, entry, self.old.rows(entry) or [], same=True)
            manifest, rejections = self._commit(sink, sources)
        return BuildReport(
            IndexPlan(),
            manifest,
            written=True,
            embedded=self.embedded,
            reused=self.reused,
            rejections=rejections,
        )

    @contextmanager
    def _drafts(self) -> Iterator[Drafts]:
        folder = self.folder / WORK / DRAFTS
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            with one_cluster():
                yield Drafts(folder, self.old)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            with suppress(OSError):
                folder.parent.rmdir()

    def _rows(self, entry: FileEntry) -> Sequence[pa.Table] | None:
        return self.old.rows(entry) if self.old else None

    def _commit(
        self, sink: Drafts, sources: tuple[RecordedSource, ...]
    ) -> tuple[Manifest, list[Rejection]]:
        generation = ShardedGeneration(self.folder)
        try:
            drafts = self._divided(sink.drafts)
            self._find_vectors(drafts)
            files = [file for draft in drafts for file in draft.entries]
            places = [
                self._shard(draft, f" shard {number} of {len(drafts)}", sources)
                for number, draft in enumerate(drafts, start=1)
            ]
            places, searched = self._finished(places, generation)
            if self.old:
                # Windows does not remove files that are mapped.
                self.old.close()
            manifest = generation.commit(places, self.recipe, sources, searched, self.parts)
        except BaseException:
            generation.abandon()
            raise
        forget_unfinished(self.folder, self.recipe.embedder)
        return manifest, [one for file in files for one in file.rejections]

    def _divided(self, drafts: Sequence[Draft]) -> list[Draft]:
        """Return the drafts that are not too large, or as many as were asked for."""
        divided = []
        for draft in drafts:
            if self._is_kept(draft):
                divided.append(draft)
                continue
            draft.close()
            parts = math.ceil(draft.rows / MOST_PASSAGES)
            if self.old is None and self.parts is not None:
                parts = max(parts, self.parts)
            divided += draft.split(parts)
        return [one for one in divided if one.entries] or divided[:1]

    def _is_kept(self, draft: Draft) -> bool:
        """Return whether a shard of before is as a draft has it."""
        if self.old is None or draft.old is None:
            return False
        shard = self.old.shards[draft.old]
        if not isinstance(shard, Index):
            return False
        factory = shard.manifest.factory
        usable = factory == self.exact_recipe.factory or self.kept.quantizer
        listed = self.kept.clusters if self.recipe.token_lists else True
        return (
            bool(usable and listed)
            and replace(self.recipe, factory=factory).makes(shard.manifest)
            and shard.lexicon.made_by == Terms(self.recipe.language).made_by
            and draft.is_as(list(shard.files))
        )

    def _find_vectors(self, drafts: Sequence[Draft]) -> None:
        """Find the shards whose vectors may be those of the new ones, and check them."""
        for place in intact_leftovers(self.folder, self.named):
            if read_manifest(place).embedder == self.recipe.embedder:
                self.made.append(place)
        kept = {draft.old for draft in drafts if self._is_kept(draft)}
        for number, shard in enumerate(self.old.shards if self.old else ()):
            if shard is None or number in kept:
                continue
            if isinstance(shard, Index):
                # New checksums would hide the damage.
                require_intact(shard.folder)
            self.changing.append(shard)

    def _shard(self, draft: Draft, which: str, sources: tuple[RecordedSource, ...]) -> Path:
        """Return the folder of the complete shard with the passages of a draft."""
        old = self.old.shards[draft.old] if self.old and draft.old is not None else None
        if self._is_kept(draft):
            assert isinstance(old, Index)
            self.reused += draft.rows
            return old.folder
        name = shard_name(self.recipe, draft.path, draft.entries)
        for shared in (self.kept, Shared()):
            place = shared.place(self.folder, name, self.taken)
            if is_complete(place):
                self.reused += draft.rows
                return place
        with ExitStack() as stack:
            made = [stack.enter_context(Index(place)) for place in self.made]
            also = [*made, *(one for one in self.changing if one is not old)]
            work = self.folder / WORK
            generation = Generation(place, self.exact_recipe, old, also, work)
            self._write(generation, draft, which, sources)
        return place

    def _write(
        self,
        generation: Generation,
        draft: Draft,
        which: str,
        sources: tuple[RecordedSource, ...],
    ) -> None:
        try:
            generation.adopt(draft.path, draft.rows)
            missing = generation.missing()
            self.embedding.complete(missing, f"embedding{which}")
            documents = sum(entry.documents for entry in draft.entries)
            label = f"indexing terms of{which}"
            with self.reporter.track(label, draft.rows, "passages") as advance:
                generation.commit(draft.entries, sources, documents, advance)
        except BaseException:
            generation.abandon()
            raise
        self.embedded += missing.total
        self.reused += missing.reused

    def _finished(
        self, places: Sequence[Path], generation: ShardedGeneration
    ) -> tuple[list[Path], SearchedBy]:
        """Compress the vectors of new shards and list their token vectors, alike in all shards."""
        with ExitStack() as stack:
            opened = [stack.enter_context(Index(place)) for place in places]
            factory, shared = self._shared_by(opened, generation.path)
        done = [
            place
            if is_finished(place, self.recipe, factory)
            else self._finish(place, factory, shared)
            for place in places
        ]
        if not shared.quantizer:
            return done, SearchedBy(factory, {}, 1.0)
        fresh = [place for place in done if place.name not in self.named]
        changed = sum(read_manifest(place).counts.passages for place in fresh)
        with ExitStack() as stack:
            opened = [stack.enter_context(Index(place)) for place in done]
            vectors = _all_vectors(opened)
            if self.kept.quantizer and self.before and changed < TUNED_SHARE * len(vectors):
                search, recall = self.before.search, self.before.recall
            else:
                search, recall = tuned(list(_vector_parts(opened)), factory, vectors)
        for place in fresh:
            record_search(place, search, recall)
        return done, SearchedBy(factory, search, recall)

    def _finish(self, shard: Path, factory: str, shared: Shared) -> Path:
        """Return the folder of the shard with the passages of another that is as all shards are."""
        place = shared.place(self.folder, shard.name, self.taken)
        if not is_complete(place):
            finish(place, shard, self.recipe, factory, shared)
        return place

    def _shared_by(self, shards: Sequence[Index], generation: Path) -> tuple[str, Shared]:
        """Return the factory of the vectors, and what all shards are made with."""
        kept = self.kept.copied(generation)
        quantizer, clusters = kept.quantizer, kept.clusters
        vectors, path = _all_vectors(shards), generation / QUANTIZER
        if not len(vectors):
            # As without shards: there is nothing to compress, and nothing to train on later.
            quantizer, factory = None, AUTO_EXACT
            path.unlink(missing_ok=True)
        elif quantizer:
            assert self.before
            factory = self.before.factory
        else:
            factory = resolved(vectors, self.recipe.factory, path)
            path.unlink(missing_ok=True)
            if factory not in EXACT:
                quantizer = path
                write_index(trained(vectors, factory), quantizer)
        if self.recipe.token_lists and not clusters:
            assert self.recipe.tokens
            clusters = generation / CLUSTERS
            tokens = [cast("StoredTokens", shard.tokens) for shard in shards]
            first_rows = [part.first for part in _vector_parts(shards)]
            clusters_of(JoinedTokens(tokens, self.recipe.tokens, first_rows)).save(clusters)
        return factory, Shared(quantizer, clusters)


def _all_vectors(shards: Sequence[Index]) -> Stored:
    """Return the vectors of shards, in their order."""
    return cast("Stored", JoinedVectors([cast("Stored", shard.vectors) for shard in shards]))


def _vector_parts(shards: Sequence[Index]) -> Iterator[VectorPart]:
    """Yield FAISS's index of each shard."""
    first = 0
    for shard in shards:
        [part] = shard.vector_parts
        yield replace(part, first=first)
        first += part.faiss.ntotal


def intact_shards(folder: Path, manifest: Manifest, damaged: Sequence[str]) -> OldShards:
    """Return what can be read of the shards of a damaged index.

    Args:
        damaged: The damaged files.
    """
    shards: list[Index | IntactParts | None] = []
    for record in manifest.shards:
        place = folder / SHARDS / record.name
        own = [Path(path) for path in damaged if place in Path(path).parents]
        if not own:
            shards.append(Index(place))
        elif any(path.parent == place for path in own):
            shards.append(None)
        else:
            shards.append(IntactParts(place))
    return OldShards(manifest, shards, Shared.of(folder, manifest, damaged))
