"""A run recorded once, and what is found in every state that a power cut during it may leave."""

import contextlib
import io
import os
import shlex
import shutil
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from ettin_cli.cli import main
from ettin_cli.errors import EttinError, IndexNotFoundError
from ettin_cli.index import Index, damaged_files, writer
from ettin_cli.pipeline import building
from tests.faults import on
from tests.indexes import Builder, word_model
from tests.power import Moment, Recorder, State, surest, write
from tests.scenes import STORIES, Scene


class BrokenStateError(AssertionError):
    """A power cut may leave what is neither the old index, nor the new one, nor refused."""


def run(*words: str) -> tuple[int, str]:
    """Run a command line in this process; return its exit code and what it said."""
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(said):
        patch.setattr(sys, "argv", ["ettin", *words])
        with contextlib.redirect_stdout(said), pytest.raises(SystemExit) as end:
            main()
    return int(end.value.code or 0), said.getvalue()


class Replay:
    """One story: recorded, and each state judged.

    Args:
        root: An empty folder, the working folder.
        patch: Puts an embedder of words in the place of models; undone by the caller.
        more: Options of the story's command.
    """

    def __init__(self, root: Path, story: str, patch: pytest.MonkeyPatch, *more: str) -> None:
        builder = Builder(word_model(root / "words"))
        patch.chdir(root)
        patch.setattr(building, "load_embedder", builder.load)
        patch.setattr(writer, "SHARD_ROWS", 2)
        patch.setenv("ETTIN_EMBEDDER", str(builder.model))
        patch.setenv("ETTIN_CACHE_DIR", str(root / "cache"))
        self.scene = Scene(root, story, builder)
        self.command = [*STORIES[story], *more]
        self.old = _content(self.scene.start) if story in ("update", "rebuild") else None
        self.new = _content(self.scene.calm)
        self.verdicts: Counter[str] = Counter()

    def record(self) -> list[Moment]:
        """Run the story's command and return all that it did to the disk."""
        self.scene.reset()
        with on(Recorder(self.scene.index)) as disk:
            code, said = run(*self.command)
        assert isinstance(disk, Recorder)
        assert code == 0, said
        return disk.end()

    def judge(self, state: State, *, go_on: bool) -> str:
        """Return "old", "new" or "refused", the last once the command that was named has helped.

        Args:
            go_on: Run the story's command again as well, which has to end in the new index.

        Raises:
            BrokenStateError: It is none of them.
        """
        shutil.rmtree(self.scene.index, ignore_errors=True)
        write(state, self.scene.root)
        # What is judged here need not outlive a power cut of its own.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "fsync", lambda _: None)
            verdict = self._verdict()
            if verdict == "refused" or go_on:
                self._make_new(refused=verdict == "refused")
        self.verdicts[verdict] += 1
        return verdict

    def judge_end(self, moments: list[Moment]) -> str:
        """Return the verdict on what is sure to be there once the command has ended."""
        return self.judge(surest(moments), go_on=False)

    def _verdict(self) -> str:
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

    def _make_new(self, *, refused: bool) -> None:
        if refused:
            hint = (self.error.hint or "").replace("SOURCE", "docs")
            program, *words = shlex.split(hint)
            assert program == "ettin", hint
        else:
            words = self.command
        code, said = run(*words)
        if code or damaged_files(self.scene.index) or self.scene.litter():
            raise BrokenStateError(f"{words} ended with {code}, {self.scene.litter()}: {said}")
        if not _same(_content(self.scene.index), self.new):
            raise BrokenStateError(f"{words} made another index")


Content = tuple[object, "np.ndarray[tuple[int, ...], np.dtype[np.float32]]", list[object]]


def _content(folder: Path) -> Content:
    index = Index(folder)
    files = [(entry.name, entry.first, entry.passages, entry.digest) for entry in index.files]
    passages = index.read(range(len(index.passages)))
    return [(one.doc_id, one.text) for one in passages], np.array(index.vectors), list(files)


def _same(one: Content, other: Content) -> bool:
    return one[0] == other[0] and one[2] == other[2] and np.array_equal(one[1], other[1])
