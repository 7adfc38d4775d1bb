"""The output folder of training: MODEL.partial with checkpoints until the model is complete."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from ettin_cli.errors import OutputError, first_line
from ettin_cli.files import check_folder_of, output_errors
from ettin_cli.platforms import exists, persist
from ettin_cli.storage import mode_for, replacing, sync_file, sync_folder

CHECKPOINT, BEST, METRICS, LOCK = "checkpoint.pt", "best.pt", "metrics.jsonl", "lock"
SHOWN = 60


class ModelFolder:
    """A model folder that is moved into place when complete.

    Until then MODEL.partial beside it holds the last checkpoint, the best weights so far, and
    the metrics.

    Args:
        target: The folder of the complete model.
        resume: Resume an unfinished run, if there is one.

    Raises:
        OutputError: The folder cannot be written or already exists, another process is writing it,
            an unfinished run exists and `resume` is off, or the unfinished run was another.
    """

    def __init__(self, target: Path, *, resume: bool) -> None:
        self.target = Path(os.path.realpath(target))
        self.partial = self.target.with_name(self.target.name + ".partial")
        self.resume = resume
        self.check()

    def check(self) -> None:
        """Raise if the folder cannot be written, before any work is done."""
        with output_errors(self.target):
            if exists(self.target):
                raise OutputError(
                    f"{self.target} already exists", code="output-exists", path=self.target
                )
        check_folder_of(self.target)
        if self.unfinished and not self.resume:
            raise OutputError(
                f"{self.partial} is left over from an unfinished run",
                code="unfinished-output",
                partial=self.partial,
            )

    @property
    def unfinished(self) -> bool:
        """Whether there is a checkpoint to resume from."""
        return (self.partial / CHECKPOINT).exists()

    def __enter__(self) -> Self:
        import filelock

        self.partial.mkdir(exist_ok=True)
        self.lock = filelock.FileLock(self.partial / LOCK)
        try:
            self.lock.acquire(timeout=0)
        except filelock.Timeout:
            raise OutputError(
                f"another process is training {self.target}",
                code="output-busy",
                path=self.target,
            ) from None
        return self

    def __exit__(self, *_: object) -> None:
        self.lock.release()
        if self.partial.is_dir() and not self.unfinished:
            # Nothing to resume. The model may be complete, so that what stays is no failure.
            shutil.rmtree(self.partial, ignore_errors=True)

    def checkpoint(self, state: Mapping[str, Any], facts: Mapping[str, object]) -> None:
        """Replace the last checkpoint atomically."""
        self._write(CHECKPOINT, {"facts": dict(facts), **state})

    def last(self, facts: Mapping[str, object]) -> dict[str, Any] | None:
        """Return the last checkpoint; None if there is none.

        Raises:
            OutputError: The checkpoint was made from other data or with other options.
        """
        if not self.unfinished:
            return None
        state = self._read(CHECKPOINT)
        made = state.pop("facts")
        for name, value in facts.items():
            if made.get(name) != value:
                was, now = (str(fact)[:SHOWN] for fact in (made.get(name), value))
                # Facts are named after options.
                what = name.removeprefix("--").replace("-", " ")
                raise OutputError(
                    f"the unfinished run in {self.partial} had a different {what}: "
                    f"{was}, not {now}",
                    code="resume-mismatch",
                    partial=self.partial,
                )
        return state

    def keep_best(self, weights: Mapping[str, Any]) -> None:
        """Replace the best weights so far."""
        self._write(BEST, weights)

    def best(self) -> dict[str, Any]:
        """Return the best weights."""
        return self._read(BEST)

    def _write(self, name: str, value: Mapping[str, Any]) -> None:
        import torch

        try:
            with replacing(self.partial / name) as draft:
                torch.save(dict(value), draft)
        except (OSError, RuntimeError) as error:
            # On a full disk torch reports only a failed write.
            raise OutputError(
                f"cannot write {self.partial / name}: {first_line(error)}",
                code="checkpoint-unwritable",
                partial=self.partial,
            ) from error

    def _read(self, name: str) -> dict[str, Any]:
        import pickle

        import torch

        path = self.partial / name
        try:
            stored: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise OutputError(
                f"cannot read {path}: {first_line(error)}",
                code="resume-damaged",
                partial=self.partial,
            ) from error
        return stored

    @property
    def metrics(self) -> Path:
        """The metrics file of the unfinished model."""
        return self.partial / METRICS

    @property
    def draft(self) -> Path:
        """The folder in which the model is written."""
        return self.partial / "model"

    def finish(self) -> None:
        """Move the complete model into place and remove the rest."""
        shutil.copy(self.metrics, self.draft / METRICS)
        for path in self.draft.rglob("*"):
            if path.is_dir():
                sync_folder(path)
            else:
                # safetensors writes files that only the owner can read.
                path.chmod(mode_for(self.draft / "new"))
                sync_file(path)
        sync_folder(self.draft)
        persist(lambda: self.draft.rename(self.target))
        sync_folder(self.target.parent)
        # The rest is removed with the lock, which Windows does not remove while it is held.
        with suppress(OSError):
            (self.partial / CHECKPOINT).unlink(missing_ok=True)
