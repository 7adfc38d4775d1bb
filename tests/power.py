"""The states a power cut may leave: all disk operations are recorded and replayed in part.

The model is that of POSIX: a file's content is durable once the file was synced, and a name once
its folder was. Anything else may be lost, a name together with everything below it.
"""

import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from tests.faults import Disk

# Relative paths and what they refer to: a number that permanently identifies a file or folder.
Names = dict[str, int]
# Relative paths and their content; None: a folder.
State = dict[str, bytes | None]
# The effect of one operation on names: what each refers to afterwards, None if it is gone.
Change = dict[str, int | None]


@dataclass(frozen=True, slots=True)
class Moment:
    """The disk before an operation, and the number of what the operation will sync."""

    what: str
    names: Names
    contents: dict[int, bytes | None]
    synced: int | None


class Recorder(Disk):
    """Takes a snapshot of an index's folder before each disk operation.

    Writes through a memory map appear in the next snapshot.

    Args:
        below: The folder of the index; its creation is recorded as well.
    """

    def __init__(self, below: Path) -> None:
        super().__init__(below)
        self.root = below.parent
        self.moments: list[Moment] = []
        self.number_of: dict[int, int] = {}
        self.numbers = 0

    def check(self, what: str, path: object) -> None:
        """Record an operation that is about to happen."""
        inode = os.fstat(path).st_ino if isinstance(path, int) else None
        self._picture(what, inode)

    def end(self) -> list[Moment]:
        """Return all moments, the last of which is the end."""
        self._picture("end", None)
        return self.moments

    def _picture(self, what: str, synced: int | None) -> None:
        paths = [self.root, *([self.below] if self.below.exists() else [])]
        paths += sorted(self.below.rglob("*"))
        inodes = {os.path.relpath(path, self.root): path.stat().st_ino for path in paths}
        # An inode number without a name may be reused for a new file.
        kept = {inode: self.number_of.get(inode) for inode in inodes.values()}
        for inode, number in kept.items():
            if number is None:
                self.numbers += 1
            self.number_of[inode] = number or self.numbers
        self.number_of = {inode: self.number_of[inode] for inode in kept}
        names = {name: self.number_of[inode] for name, inode in inodes.items()}
        contents = {
            names[os.path.relpath(path, self.root)]: None if path.is_dir() else path.read_bytes()
            for path in paths
        }
        number = None if synced is None else self.number_of.get(synced)
        self.moments.append(Moment(what, names, contents, number))


class PowerCut:
    """A power cut at one moment: what is durable, and what may be lost.

    Args:
        moments: A complete recording.
        at: The power is cut before the operation of this moment.
    """

    def __init__(self, moments: Sequence[Moment], at: int) -> None:
        self.start = moments[0].names
        self.sure: list[Change] = []
        self.pending: list[tuple[int, Change]] = []
        self.written: dict[int, bytes | None] = {}
        self.synced: dict[int, bytes | None] = dict(moments[0].contents)
        self.changes: list[Change] = []
        folders: list[set[int]] = []
        synced_at: dict[int, int] = {}
        for number in range(at + 1):
            moment = moments[number]
            self.written |= moment.contents
            if number:
                before = moments[number - 1]
                self.changes.append(_change(before.names, moment.names))
                folders.append(_folders(self.changes[-1], before.names | moment.names))
            if number < at and moment.synced is not None:
                synced_at[moment.synced] = number
                if moment.contents[moment.synced] is not None:
                    self.synced[moment.synced] = moment.contents[moment.synced]
        # Change number n happens after snapshot n.
        self.unsure = [
            number
            for number, change in enumerate(self.changes)
            if change and any(synced_at.get(folder, -1) <= number for folder in folders[number])
        ]

    def unsynced(self) -> list[int]:
        """Return the files whose content is not entirely durable."""
        return [
            number
            for number, content in self.written.items()
            if content is not None and content != self.synced.get(number, b"")
        ]

    def state(self, kept: set[int], versions: dict[int, int]) -> State:
        """Return the disk with some of the name changes, and some versions of contents.

        Args:
            kept: The changes that survived, of those that are not durable.
            versions: The one of `VERSIONS` that each unsynced file has.
        """
        names = dict(self.start)
        unsure = set(self.unsure) - kept
        for number, change in enumerate(self.changes):
            if number not in unsure:
                for name, stands_for in change.items():
                    if stands_for is None:
                        names.pop(name, None)
                    else:
                        names[name] = stands_for
        state: State = {}
        for name in sorted(names):
            content = self.written[names[name]]
            if name == "." or os.path.dirname(name) not in ("", *state):  # noqa: PTH120
                continue
            if content is not None and names[name] in versions:
                durable = self.synced.get(names[name]) or b""
                content = _version(durable, content, versions[names[name]])
            state[name] = content
        return state

    def states(self, samples: int, chooser: random.Random) -> Iterator[State]:
        """Yield states that may be left by the cut: the plain ones, and some random ones."""
        unsure, unsynced = self.unsure, self.unsynced()
        choices = [set(unsure), set()]
        choices += [set(unsure[:count]) for count in range(1, len(unsure))]
        choices += [set(unsure) - {one} for one in unsure] + [{one} for one in unsure]
        for kept in choices:
            for version in range(VERSIONS if unsynced else 1):
                yield self.state(kept, dict.fromkeys(unsynced, version))
        for _ in range(samples if unsure or unsynced else 0):
            kept = {one for one in unsure if chooser.random() < 0.5}
            yield self.state(kept, {one: chooser.randrange(VERSIONS) for one in unsynced})


VERSIONS = 5


def _version(durable: bytes, written: bytes, version: int) -> bytes:
    """Return what a file may contain: everything, nothing new, or a truncated or zeroed part."""
    # Compared as bytes; paths do not matter here.
    same = len(os.path.commonprefix([durable, written]))  # noqa: RUF071
    half = (same + len(written)) // 2
    return (
        written,
        durable,
        written[:half],
        written[:same] + bytes(len(written) - same),
        written[:same] + bytes(half - same) + written[half:],
    )[version]


def _change(before: Names, after: Names) -> Change:
    gone: Change = {name: None for name in before if name not in after}
    return gone | {name: number for name, number in after.items() if before.get(name) != number}


def _folders(change: Change, names: Names) -> set[int]:
    """Return the folders that must be synced to make a change of names durable."""
    return {names[os.path.dirname(name) or "."] for name in change}  # noqa: PTH120


def all_states(moments: Sequence[Moment], samples: int, seed: int = 0) -> Iterator[State]:
    """Yield each distinct state that a cut may leave, and `samples` random ones per moment."""
    chooser = random.Random(seed)
    seen: set[bytes] = set()
    for at in range(len(moments)):
        for state in PowerCut(moments, at).states(samples, chooser):
            key = sha256(repr(sorted(state.items())).encode()).digest()
            if key not in seen:
                seen.add(key)
                yield state


def surest(moments: Sequence[Moment]) -> State:
    """Return what a completed run has durably written."""
    cut = PowerCut(moments, len(moments) - 1)
    return cut.state(set(), dict.fromkeys(cut.unsynced(), 1))


def write(state: State, root: Path) -> None:
    """Recreate a state of the disk below a folder."""
    for name, content in state.items():
        if content is None:
            (root / name).mkdir()
        else:
            (root / name).write_bytes(content)
