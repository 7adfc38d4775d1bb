"""A run that stops at some point, and the verdict on the state it leaves."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shlex
import shutil
import sys
from collections import Counter
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ettin_cli.cli import main
from ettin_cli.commands.hints import hint_of
from ettin_cli.errors import EttinError, IndexNotFoundError
from ettin_cli.index import writer
from ettin_cli.index.manifest import GENERATIONS, MANIFEST
from ettin_cli.index.reader import Index
from ettin_cli.index.salvage import damaged_files
from ettin_cli.indexing import building
from tests.faults import on
from tests.indexes import Builder, assert_equal, word_model, word_vector
from tests.power import Moment, Recorder, State, surest, write
from tests.scenes import STORIES, Scene

if TYPE_CHECKING:
    from ettin_cli.records import Floats


class BrokenStateError(AssertionError):
    """The state is neither the old index, nor the new one, nor refused."""


def run(*words: str) -> tuple[int, str]:
    """Run a command line in this process; return its exit code and output."""
    written = io.BytesIO()
    said = io.TextIOWrapper(written, encoding="utf-8", write_through=True)
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(said):
        patch.setattr(sys, "argv", ["ettin", *words])
        with contextlib.redirect_stdout(said), pytest.raises(SystemExit) as end:
            main()
    return int(end.value.code or 0), written.getvalue().decode()


class Replay:
    """A story, and the judge of each state in which it may stop.

    Args:
        root: An empty folder, the working folder.
        patch: Replaces models by the word embedder; undone by the caller.
        more: Options of the story's command.
        files: Number of documents.
    """

    def __init__(
        self, root: Path, story: str, patch: pytest.MonkeyPatch, *more: str, files: int = 4
    ) -> None:
        builder = Builder(word_model(root / "words"))
        patch.chdir(root)
        patch.setattr(building, "load_embedder", builder.load)
        patch.setattr(writer, "SHARD_ROWS", 2)
        patch.setenv("ETTIN_EMBEDDER", str(builder.model))
        patch.setenv("ETTIN_CACHE_DIR", str(root / "cache"))
        self.scene = Scene(root, story, builder, files)
        self.command = [*STORIES[story], *more]
        self.old = _content(self.scene.start) if story in ("update", "rebuild") else None
        self.new = self._run_in_peace()
        self.verdicts: Counter[str] = Counter()
        self.known: dict[bytes, str] = {}

    def _run_in_peace(self) -> Content:
        self.scene.reset()
        code, said = run(*self.command)
        assert code == 0, said
        assert_equal(self.scene.index, self.scene.calm)
        return _content(self.scene.index)

    def record(self) -> list[Moment]:
        """Run the story's command and return all that it did to the disk."""
        self.scene.reset()
        with on(Recorder(self.scene.index)) as disk:
            code, said = run(*self.command)
        assert isinstance(disk, Recorder)
        assert code == 0, said
        return disk.end()

    def judge(self, state: State, *, resume: bool) -> str:
        """Return "old", "new" or "refused", the last if the suggested command repairs the index.

        Readers open the manifest and its generation. A state in which both were judged before has
        the same verdict; this is checked for the states that are resumed.

        Args:
            resume: Also run the story's command again, which must end in the new index.

        Raises:
            BrokenStateError: It is none of these.
        """
        key = _opened(state, self.scene)
        known = self.known.get(key)
        if known is None or resume:
            verdict = self._judge(state, resume=resume)
            if known not in (None, verdict):
                raise BrokenStateError(f"it is {verdict}, and {known} beside other files")
            # The command that repairs may read other files.
            if verdict != "refused":
                self.known[key] = verdict
        else:
            verdict = known
        self.verdicts[verdict] += 1
        return verdict

    def _judge(self, state: State, *, resume: bool) -> str:
        shutil.rmtree(self.scene.index, ignore_errors=True)
        write(state, self.scene.root)
        # Replaying needs no durability.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "fsync", lambda _: None)
            verdict = self.verdict()
            if verdict == "refused":
                self._run_again(self._named(), "what was named")
            elif resume:
                self.resume()
        return verdict

    def judge_end(self, moments: list[Moment]) -> str:
        """Return the verdict on what is durable once the command has ended."""
        return self.judge(surest(moments), resume=False)

    def verdict(self) -> str:
        """Return which index is there: "old", "new", or "refused" if it cannot be opened.

        Raises:
            BrokenStateError: It is a different one.
        """
        try:
            found = _content(self.scene.index)
            damaged = damaged_files(self.scene.index)
        except IndexNotFoundError:
            if self.scene.story != "first":
                raise BrokenStateError("there was an index, and now there is none") from None
            return "old"
        except EttinError as error:
            self.error = error
            return "refused"
        if damaged:
            raise BrokenStateError(f"it is opened, and damaged: {damaged}")
        for name, expected in (("new", self.new), ("old", self.old)):
            if expected is not None and _same(found, expected):
                return name
        raise BrokenStateError("it is opened, and holds what was never indexed")

    def resume(self) -> None:
        """Run the story's command, which must end in the new index and leave nothing behind."""
        self._run_again(self.command, "the next run")

    def check_new(self, what: str) -> None:
        """Check that the index is the new one, and that nothing else is left."""
        if damaged := damaged_files(self.scene.index):
            raise BrokenStateError(f"{what} left damage: {damaged}")
        if litter := self.scene.litter():
            raise BrokenStateError(f"{what} left over {litter}")
        if not _same(_content(self.scene.index), self.new):
            raise BrokenStateError(f"{what} made another index")

    def _named(self) -> list[str]:
        """Return the command that the error message suggests, with a source to read."""
        program, *words = shlex.split((hint_of(self.error) or "").replace("SOURCE", "docs"))
        assert program == "ettin", self.error
        return words

    def _run_again(self, words: list[str], what: str) -> None:
        code, said = run(*words)
        if code:
            raise BrokenStateError(f"{what} failed: {said}")
        self.check_new(what)


def _opened(state: State, scene: Scene) -> bytes:
    """Return a hash of what readers open: the manifest and its generation."""
    manifest = state.get(f"{scene.index.name}/{MANIFEST}")
    opened: list[tuple[str, bytes | None]] = [(MANIFEST, manifest)]
    if manifest is not None:
        with contextlib.suppress(ValueError):
            name = json.loads(manifest)["generation"]
            below = f"{scene.index.name}/{GENERATIONS}/{name}/"
            opened += [item for item in sorted(state.items()) if item[0].startswith(below)]
    return sha256(repr(opened).encode()).digest()


QUERIES = ("ferry 2", "another text", "file 1 tells", "new")
Content = tuple[object, object, object, "Floats"]


def _content(folder: Path) -> Content:
    """Return everything that an index holds, and its search results."""
    index = Index(folder)
    files = [(entry.name, entry.first, entry.passages, entry.digest) for entry in index.files]
    passages = [(one.doc_id, one.text) for one in index.read(range(len(index.passages)))]
    found = index.retrieve(np.array([word_vector(query) for query in QUERIES]), 3)
    hits = [
        [(one.doc_id, one.text, score) for one, score in zip(index.read(rows), scores, strict=True)]
        for rows, scores in found
    ]
    return files, passages, hits, np.array(index.vectors)


def _same(one: Content, other: Content) -> bool:
    return one[:3] == other[:3] and np.array_equal(one[3], other[3])
