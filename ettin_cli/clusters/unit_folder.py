"""The folder of unfinished work: the plan, and one file for each unit that is done.

    OUTPUT.parts/
      plan.json           what is to be done: the recipe, and a hash of all units
      engine.json         libraries and processor of the worker that came first
      records.jsonl       what the units are ranges of, if it is not the input itself
      parts/              the output of each unit that is done
      rejects/, receipts/ its rejected rows, and its counts
      starts/             a file per unit that is being done, or whose worker died
      drafts/             files that are not complete
      ray.log             what Ray printed

A unit is done when its part is there. Parts are written completely or not at all, and two workers
that do the same unit write the same bytes. If the output is a folder, it is parts/, moved into
place. Without plan.json the rest is not unfinished work.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ettin_cli.clusters.units import Receipt, Unit
from ettin_cli.errors import EttinError, OutputError
from ettin_cli.platforms import move, persist
from ettin_cli.storage import make_folder, mode_for, replacing, sync_file, sync_folder

# Makes an output from parts that are not simply put together.
Made = Callable[[Sequence[Path], BinaryIO], None]

PARTS = ".parts"
PLAN, ENGINE, LOG, RECORDS = "plan.json", "engine.json", "ray.log", "records.jsonl"
# How often, and for how long, a worker waits for what another has just created.
WAITS, WAIT_S = 20, 0.1
FOLDERS = ("parts", "rejects", "receipts", "starts", "drafts")

# The names that are written to the folder itself, and to the folders in it.
_OWN = re.compile(
    r"plan\.json|engine\.json|ray\.log|records\.jsonl|\.(plan\.json|records\.jsonl)\.\w+\.tmp"
)
_OWN_INSIDE = re.compile(r"\.?part-\d{6,}-[0-9a-f]{16}\..+|engine\.json\.\w+")


@dataclass(frozen=True, slots=True)
class UnitFolder:
    """The folder of unfinished work beside an output; picklable.

    Args:
        output: The absolute path of the output.
        suffix: The suffix of the parts.
    """

    output: Path
    suffix: str

    @property
    def root(self) -> Path:
        """The folder itself."""
        return self.output.with_name(self.output.name + PARTS)

    @property
    def log(self) -> Path:
        """The file with what Ray printed."""
        return self.root / LOG

    @property
    def records(self) -> Path:
        """The file with what the units are ranges of."""
        return self.root / RECORDS

    @property
    def parts(self) -> Path:
        """The folder of the parts."""
        return self.root / "parts"

    def part(self, unit: Unit) -> Path:
        """Return the path of the output of a unit."""
        return self.parts / f"{unit.name}{self.suffix}"

    def rejects(self, unit: Unit) -> Path:
        """Return the path of the rejected rows of a unit; there is no file if there are none."""
        return self.root / "rejects" / f"{unit.name}.jsonl"

    def _receipt(self, unit: Unit) -> Path:
        return self.root / "receipts" / f"{unit.name}.json"

    @property
    def _starts(self) -> Path:
        return self.root / "starts"

    def begin(self, plan: Mapping[str, Any], units: Sequence[Unit], *, resume: bool) -> None:
        """Begin work with a plan, or resume work with the same plan.

        If the parts are the output already, no folder of parts is made.

        Raises:
            OutputError: Unfinished work exists and `resume` is off, or it has another plan; or
                the folder has files of something else.
        """
        earlier = self.plan()
        if earlier is not None and not resume:
            raise OutputError(
                f"{self.root} is left over from an unfinished run",
                code="unfinished-output",
                partial=self.root,
            )
        if earlier is not None and earlier != plan:
            differs = {name for name in plan if earlier.get(name) != plan[name]}
            what = (
                "the input has changed since the unfinished run began"
                if differs == {"units"}
                else f"{self.root} was made with a different model, unit size or options"
            )
            raise OutputError(what, code="resume-mismatch", partial=self.root)
        if earlier is None and (foreign := self._foreign()) is not None:
            raise OutputError(
                f"cannot write {self.root}: {foreign} is not left over from an unfinished run",
                path=foreign,
            )
        if earlier is None:
            # A run was killed while it began, or while it removed the folder. What is there may
            # be of another engine.
            self._clear()
        # Only its owner can open it until the work is complete.
        self.root.mkdir(mode=0o700, exist_ok=True)
        moved = earlier is not None and self.moved(units)
        for name in FOLDERS[1:] if moved else FOLDERS:
            make_folder(self.root / name)
        if earlier is None:
            _write(self.root / PLAN, plan)

    def write_records(self, file: BinaryIO) -> None:
        """Write the records of which the units are ranges, from an open file."""
        with replacing(self.records) as draft, draft.open("wb") as copy:
            shutil.copyfileobj(file, copy, 1 << 20)

    def plan(self) -> dict[str, Any] | None:
        """Return the plan of unfinished work; None if there is none.

        Raises:
            OutputError: It is damaged.
        """
        return self._read(PLAN) if (self.root / PLAN).exists() else None

    def planned_rows(self) -> int | None:
        """Return the rows of a unit of unfinished work; None if there is none.

        Raises:
            OutputError: The plan is damaged.
        """
        plan = self.plan()
        if plan is None:
            return None
        rows = plan.get("rows")
        if not isinstance(rows, int) or rows < 1:
            raise OutputError(
                f"{self.root / PLAN} is damaged", code="resume-damaged", partial=self.root
            )
        return rows

    def _read(self, name: str) -> dict[str, Any]:
        """Return the content of a JSON file.

        Raises:
            OutputError: It is missing or damaged.
        """
        import orjson

        path = self.root / name
        try:
            held = orjson.loads(path.read_bytes())
        except FileNotFoundError as error:
            raise self._damaged(f"{path} is missing") from error
        except orjson.JSONDecodeError as error:
            raise self._damaged(f"{path} is damaged") from error
        if not isinstance(held, dict):
            raise self._damaged(f"{path} is damaged")
        return held

    def _damaged(self, problem: str) -> OutputError:
        return OutputError(problem, code="resume-damaged", partial=self.root)

    def moved(self, units: Sequence[Unit]) -> bool:
        """Return whether the folder of the parts was made the output, and the work not removed."""
        if self.parts.exists() or not self.output.is_dir():
            return False
        there = {path.name for path in self.output.iterdir()}
        return all(self.part(unit).name in there for unit in units)

    def done(self, units: Sequence[Unit]) -> set[int]:
        """Return the numbers of the units that are done, by the names of the files that exist."""
        if self.moved(units):
            return {unit.number for unit in units}
        there = {path.name for path in self.parts.iterdir()}
        return {unit.number for unit in units if self.part(unit).name in there}

    def receipt(self, unit: Unit) -> Receipt:
        """Return the receipt of a unit that is done.

        Raises:
            OutputError: It is missing or damaged.
        """
        path = self._receipt(unit)
        match self._read(f"{path.parent.name}/{path.name}"):
            case {"counts": dict(counts), "notices": list(notices)}:
                return Receipt(unit.number, counts, tuple(notices))
        raise self._damaged(f"{path} is damaged")

    def starts(self, unit: Unit, run: str | None = None) -> int:
        """Return how often a unit was begun and neither ended nor failed.

        Args:
            run: Count those of one run only.
        """
        begins = f"{unit.name}." + (f"{run}." if run else "")
        return sum(path.name.startswith(begins) for path in self._starts.iterdir())

    @contextmanager
    def started(self, unit: Unit, run: str) -> Iterator[None]:
        """Note that a unit was begun, until the block ends; a worker that dies leaves the note."""
        handle, name = tempfile.mkstemp(
            prefix=f"{unit.name}.{run}.{socket.gethostname()}.{os.getpid()}.", dir=self._starts
        )
        os.close(handle)
        try:
            yield
        finally:
            Path(name).unlink(missing_ok=True)

    def forgive(self, unit: Unit) -> None:
        """Let the next run begin a unit again that was given up."""
        for path in self._starts.iterdir():
            if path.name.startswith(f"{unit.name}."):
                path.unlink(missing_ok=True)

    @contextmanager
    def draft(self, name: str) -> Iterator[tuple[BinaryIO, Path]]:
        """Open a new file for writing, which is removed if the block fails; else it is synced."""
        handle, place = tempfile.mkstemp(prefix=f"{name}.", dir=self.root / "drafts")
        os.close(handle)
        path = Path(place)
        try:
            with path.open("wb") as file:
                yield file, path
                file.flush()
                if file.tell():
                    os.fsync(file.fileno())
        except BaseException:
            with suppress(OSError):
                path.unlink(missing_ok=True)
            raise

    def keep(self, unit: Unit, part: Path, rejects: Path, receipt: Receipt) -> None:
        """Move the files of a unit into place; the part, which marks it as done, comes last."""
        if rejects.stat().st_size:
            move(rejects, self.rejects(unit))
            sync_folder(self.rejects(unit).parent)
        else:
            rejects.unlink()
        held = {"counts": dict(receipt.counts), "notices": list(receipt.notices)}
        _write(self._receipt(unit), held)
        move(part, self.part(unit))
        sync_folder(self.parts)

    def agree(self, engine: Mapping[str, str]) -> None:
        """Check that this worker computes like the one that came first.

        Raises:
            EttinError: It has other libraries or another kind of processor, or what the first
                worker had is damaged.
        """
        import orjson

        path = self.root / ENGINE
        with self.draft(ENGINE) as (file, draft):
            file.write(orjson.dumps(dict(engine)))
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        except OSError:
            # Not all file systems have hard links.
            _create(path, draft.read_bytes())
        draft.unlink()
        for _ in range(WAITS):
            # Another worker may have created it, and not yet written it.
            if path.stat().st_size:
                break
            time.sleep(WAIT_S)
        first = self._read(ENGINE)
        for name, value in engine.items():
            if first.get(name) != value:
                raise EttinError(
                    f"{socket.gethostname()} has {name} {value}, but the first worker had "
                    f"{first.get(name)}: their scores may differ",
                    code="workers-differ",
                    folder=self.root,
                )

    def into_file(
        self, units: Sequence[Unit], begin: bytes, end: bytes = b"", made: Made | None = None
    ) -> None:
        """Make the output from all parts, in order, and move it into place.

        Args:
            begin: What comes before the first part.
            end: What comes after the last part.
            made: Called with the parts and a file to write, if the output is not their bytes.
        """
        with replacing(self.output) as draft, draft.open("wb") as file:
            if made is not None:
                made([self.part(unit) for unit in units], file)
            else:
                file.write(begin)
                for unit in units:
                    with self.part(unit).open("rb") as part:
                        shutil.copyfileobj(part, file, 1 << 20)
                file.write(end)

    def into_folder(self, units: Sequence[Unit]) -> None:
        """Make the folder of the parts the output."""
        if self.moved(units):
            # An earlier run was killed right after this.
            sync_folder(self.output.parent)
            return
        named = {self.part(unit).name for unit in units}
        others = [path for path in self.parts.iterdir() if path.name not in named]
        for path in others:
            if not _OWN_INSIDE.fullmatch(path.name):
                raise OutputError(
                    f"cannot finish {self.root}: {path} is of something else; move it elsewhere",
                    code="unfinished-output",
                    partial=self.root,
                )
        for path in others:
            path.unlink()
        mode = mode_for(self.output.with_name(f".{self.output.name}.new"))
        for name in named:
            (self.parts / name).chmod(mode)
        self.parts.chmod(mode | (mode & 0o444) >> 2)
        with suppress(OSError):
            self.output.rmdir()
        persist(lambda: self.parts.rename(self.output))
        sync_folder(self.output.parent)

    def write_rejects(self, units: Sequence[Unit]) -> None:
        """Write all rejected rows beside the output; remove those of an earlier one."""
        target = self.output.with_name(f"{self.output.name}.rejects.jsonl")
        rejects = [path for unit in units if (path := self.rejects(unit)).exists()]
        if not rejects:
            target.unlink(missing_ok=True)
            return
        with replacing(target) as draft, draft.open("wb") as file:
            for path in rejects:
                with path.open("rb") as part:
                    shutil.copyfileobj(part, file)

    @contextmanager
    def removed_if_useless(self, units: Sequence[Unit]) -> Iterator[None]:
        """Remove the folder after an error, unless a part is there, or a log that it names."""
        try:
            yield
        except BaseException as error:
            logged = isinstance(error, EttinError) and "log" in error.fields
            if not logged and self.parts.exists() and not self.done(units):
                self.remove()
            raise

    def remove(self) -> None:
        """Remove the folder, except files of something else.

        A worker that outlived its driver may be writing to it.
        """
        # Without its plan it is not unfinished work, whatever happens from here on.
        (self.root / PLAN).unlink(missing_ok=True)
        with suppress(OSError):
            self._clear()
            self.root.rmdir()

    def _clear(self) -> None:
        for folder, own in self._folders():
            for path in list(folder.iterdir()):
                if own.fullmatch(path.name):
                    path.unlink(missing_ok=True)
            if folder != self.root:
                with suppress(OSError):
                    folder.rmdir()

    def _foreign(self) -> Path | None:
        """Return a path in the folder, or its own, that no run has made; None if there is none."""
        if self.root.exists() and not self.root.is_dir():
            return self.root
        for folder, own in self._folders():
            for path in sorted(folder.iterdir()):
                ours = folder == self.root and path.name in FOLDERS and path.is_dir()
                if not ours and not (own.fullmatch(path.name) and path.is_file()):
                    return path
        return None

    def _folders(self) -> Iterator[tuple[Path, re.Pattern[str]]]:
        """Yield the folders that exist, the outermost last, and the names of files in them."""
        for name in FOLDERS:
            if (folder := self.root / name).is_dir():
                yield folder, _OWN_INSIDE
        if self.root.is_dir():
            yield self.root, _OWN


def _create(path: Path, content: bytes) -> None:
    """Write a file unless it exists."""
    try:
        file = path.open("xb")
    except FileExistsError:
        return
    try:
        with file:
            file.write(content)
        sync_file(path)
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _write(path: Path, value: Mapping[str, Any]) -> None:
    import orjson

    with replacing(path) as draft:
        draft.write_bytes(orjson.dumps(value) + b"\n")
