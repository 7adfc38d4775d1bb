"""An index compared with a dictionary: after any sequence of operations they agree."""

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from ettin_cli.errors import IndexNotFoundError
from ettin_cli.index import writer
from ettin_cli.index.manifest import read_manifest
from ettin_cli.index.reader import Index
from ettin_cli.index.salvage import damaged_files
from ettin_cli.indexing import building
from ettin_cli.indexing.repairing import repair_index
from ettin_cli.indexing.requests import BuildRequest
from ettin_cli.records import Silence
from tests.faults import DiedError, Disk, on
from tests.indexes import Builder, word_model, word_vector

if TYPE_CHECKING:
    from ettin_cli.records import Floats

NAMES = [f"{letter}.txt" for letter in "abcdef"]
WORDS = ["ferry", "bread", "auk", "tern", "pier", "dough"]
TEXTS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=5).map(" ".join)
# More than an update's disk operations, so that some runs complete.
PLACES = st.integers(1, 70)


def content_vector(name: str, text: str) -> "Floats":
    """Return the vector of a file's text with its name as title, which a text may begin with."""
    title = name.removesuffix(".txt")
    return word_vector(text if text.startswith(title) else f"{title} {text}")


class IndexStates(RuleBasedStateMachine):
    """`here` is the content of the files; `held` that of the index, None if there is no index."""

    @initialize()
    def begin(self) -> None:
        self.root = Path(tempfile.mkdtemp())
        self.docs, self.folder = self.root / "docs", self.root / "i"
        self.docs.mkdir()
        self.build = Builder(word_model(self.root / "words"))
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(building, "load_embedder", self.build.load)
        self.patch.setattr(writer, "SHARD_ROWS", 2)
        self.patch.setenv("ETTIN_CACHE_DIR", str(self.root / "cache"))
        self.here: dict[str, str] = {}
        self.held: dict[str, str] | None = None

    @rule(name=st.sampled_from(NAMES), text=TEXTS)
    def write(self, name: str, text: str) -> None:
        (self.docs / name).write_text(text)
        self.here[name] = text

    @precondition(lambda self: self.here)
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.here)))
        (self.docs / name).unlink()
        del self.here[name]

    @rule(rebuild=st.booleans())
    def bring_up_to_date(self, rebuild: bool) -> None:
        self.build(self.folder, self.docs, rebuild=rebuild)
        self.held = dict(self.here)
        assert {path.name for path in self.folder.iterdir()} <= {
            "generations",
            "lock",
            "manifest.json",
            "work",
        }
        assert list(self.folder.glob("work/*/*")) == []
        assert len(list((self.folder / "generations").iterdir())) == 1

    @rule(place=PLACES, rebuild=st.booleans())
    def die_on_the_way(self, place: int, rebuild: bool) -> None:
        before = self._generation()
        try:
            with on(Disk(self.folder, place, "dies")):
                self.build(self.folder, self.docs, rebuild=rebuild)
            self.held = dict(self.here)
        except DiedError:
            if self._generation() != before:
                self.held = dict(self.here)

    @rule(query=TEXTS, depth=st.integers(1, 4))
    def search(self, query: str, depth: int) -> None:
        if self.held is None:
            with pytest.raises(IndexNotFoundError):
                Index(self.folder)
            return
        index = Index(self.folder)
        rows, scores = index.retrieve(np.array([word_vector(query)]), depth)[0]
        names = sorted(self.held)
        vectors = [content_vector(name, self.held[name]) for name in names]
        every = [float(vector @ word_vector(query)) for vector in vectors]
        best = sorted(every, reverse=True)[:depth]
        assert np.allclose(scores, best, atol=1e-6)
        for passage, score in zip(index.read(rows), scores, strict=True):
            assert passage.text == self.held[passage.doc_id]
            assert every[names.index(passage.doc_id)] == pytest.approx(float(score), abs=1e-6)

    @precondition(lambda self: self.held is not None)
    @rule()
    def verify(self) -> None:
        assert self.held is not None
        assert damaged_files(self.folder) == []
        index = Index(self.folder)
        held = {one.doc_id: one.text for one in index.read(range(len(index.passages)))}
        assert held == self.held
        assert list(index.doc_ids()) == sorted(held)
        for (name, text), vector in zip(held.items(), index.vectors, strict=True):
            assert np.allclose(vector, content_vector(name, text), atol=1e-6)

    @precondition(lambda self: self.held is not None)
    @rule(
        name=st.sampled_from(["files.arrow", "passages.arrow", "vectors.faiss"]), at=st.floats(0, 1)
    )
    def damage_and_repair(self, name: str, at: float) -> None:
        path = self.folder / "generations" / str(self._generation()) / name
        content = bytearray(path.read_bytes())
        content[int(at * (len(content) - 1))] ^= 1
        path.unlink()
        path.write_bytes(content)
        assert damaged_files(self.folder) == [str(path)]
        repair_index(BuildRequest(self.folder, offline=True), Silence())
        if name != "vectors.faiss":
            # The sources were read in their current state.
            self.held = dict(self.here)
        self.verify()

    def _generation(self) -> str | None:
        try:
            return read_manifest(self.folder).generation
        except IndexNotFoundError:
            return None

    def teardown(self) -> None:
        if hasattr(self, "patch"):
            self.patch.undo()
            shutil.rmtree(self.root)


TestIndexStates = IndexStates.TestCase
TestIndexStates.settings = settings(
    max_examples=30,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
