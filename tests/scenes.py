"""A folder with documents and an index, in the state before a run that may fail."""

import shutil
from pathlib import Path

from ettin_cli.errors import EttinError
from ettin_cli.index.manifest import read_manifest
from ettin_cli.index.salvage import damaged_files
from tests.indexes import Builder, doc_ids

STORIES = {
    "first": ["index", "docs", "-i", "i"],
    "update": ["index", "-i", "i"],
    "rebuild": ["index", "-i", "i", "--rebuild"],
    "repair": ["verify", "-i", "i", "--repair"],
}
DAMAGED = "vectors.faiss"


class Scene:
    """The parts of a story: sources, the index before the run, and one built without interruption.

    Args:
        root: An empty folder, in which the stories' commands run.
        story: One of `STORIES`.
        files: Number of files before the run.
    """

    def __init__(self, root: Path, story: str, build: Builder, files: int = 4) -> None:
        self.root, self.story = root, story
        self.docs, self.index, self.calm = root / "docs", root / "i", root / "calm"
        self.start = root / "start"
        self.docs.mkdir()
        for number in range(files):
            (self.docs / f"{number}.txt").write_text(f"file {number} tells of ferry {number}\n")
        if story != "first":
            build(self.index, self.docs)
        if story in ("update", "rebuild"):
            for number in range(0, files, 4):
                (self.docs / f"{number}.txt").write_text(f"another text {number}\n")
            (self.docs / "new.txt").write_text("a new text\n")
            (self.docs / "3.txt").unlink()
        build(self.calm, self.docs)
        if story == "repair":
            path = self.index / "generations" / read_manifest(self.index).generation / DAMAGED
            path.write_bytes(bytes(byte ^ 4 for byte in path.read_bytes()))
        if story != "first":
            shutil.copytree(self.index, self.start)
        self.before = self.state()

    def reset(self) -> None:
        """Return to the state before the run."""
        shutil.rmtree(self.index, ignore_errors=True)
        if self.start.exists():
            shutil.copytree(self.start, self.index)

    def state(self) -> object:
        """Return a value that distinguishes the old state, the new one and any other."""
        try:
            generation = read_manifest(self.index).generation
            damaged = [Path(path).name for path in damaged_files(self.index)]
            return generation, damaged, [] if damaged else doc_ids(self.index)
        except EttinError as error:
            return type(error)

    def litter(self) -> list[str]:
        """Return the files that a completed run should have removed."""
        left = {path.name for path in self.index.iterdir()}
        left -= {"lock", "manifest.json", "generations"}
        generations = {path.name for path in (self.index / "generations").iterdir()}
        shards = [path.name for path in self.index.glob("work/*/*")]
        return sorted((left - {"work"}) | generations - {read_manifest(self.index).generation}) + (
            shards
        )
