"""`ettin index` in units: the bytes of a run without them, also after an interruption."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ettin_cli.clusters import Unit
from ettin_cli.errors import EttinError
from ettin_cli.indexing import embedding_units
from ettin_cli.models import NamedEmbedder, find_embedder, read_card
from ettin_cli.models.engines import EngineSettings
from ettin_cli.records import Embedder, Silence
from tests.conftest import Ettin

# What differs between two builds of the same index, and the checksum of the file that has it.
OWN = re.compile(rb'\d{6}-[0-9a-f]{8}|"(created|seal|checksum)": *"[^"]*"|"[0-9a-f]{16,32}"')
NAME = re.compile(r"\d{6}-[0-9a-f]{8}")


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """Return 23 documents, of which the first and the last have the same text."""
    path = tmp_path / "notes.jsonl"
    texts = [f"Note {number % 22}: the ferry is late." for number in range(23)]
    rows = [{"_id": str(number), "text": text} for number, text in enumerate(texts)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    # A file that has just been written is recorded as one that may still change.
    os.utime(path, (1e9, 1e9))
    return path


def contents(folder: str | Path) -> dict[str, bytes]:
    """Return the files of an index, without names of generations and times."""
    root = Path(folder)
    found = {}
    for path in root.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            name = NAME.sub("G", path.relative_to(root).as_posix())
            found[name] = OWN.sub(b"", content) if path.suffix == ".json" else content
    return found


@pytest.mark.parametrize(
    "more",
    ([], ["--shards", "2"], ["--token-vectors", "none"]),
    ids=["tokens", "shards", "no tokens"],
)
def test_an_index_built_in_units_has_the_bytes_of_one_built_without(
    ettin: Ettin, notes: Path, more: list[str]
) -> None:
    assert ettin("index", str(notes), "-i", "whole", *more).code == 0
    done = ettin("index", str(notes), "-i", "units", *more, "--unit", "7")
    assert done.code == 0, done.err
    # A text that is in both shards is embedded for each.
    assert f"{23 if '--shards' in more else 22} passages embedded" in done.err
    assert contents("units") == contents("whole")
    assert not any(Path("units").rglob("*.parts"))


def test_an_update_in_units_embeds_new_texts_only(ettin: Ettin, notes: Path) -> None:
    for name in ("whole", "units"):
        assert ettin("index", str(notes), "-i", name).code == 0
    with notes.open("a") as file:
        file.write('{"_id": "more", "text": "A new note."}\n{"_id": "and", "text": "Another."}\n')
    os.utime(notes, (1e9, 1e9))
    assert ettin("index", "-i", "whole").code == 0
    done = ettin("index", "-i", "units", "--unit", "1")
    assert "2 passages embedded" in done.err
    assert contents("units") == contents("whole")


def interrupted_after(ettin: Ettin, notes: Path, units: int, *words: str) -> None:
    """Build an index in units of 7, and interrupt the one after some."""
    embedded = embedding_units._embedded
    begun: list[int] = []

    def fails(embedder: Embedder, *rest: object) -> object:
        begun.append(1)
        if len(begun) > units:
            raise KeyboardInterrupt
        return embedded(embedder, *rest)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedding_units, "_embedded", fails)
        done = ettin("index", str(notes), "-i", "units", "--unit", "7", *words)
    assert done.code == 130
    assert "to resume, run the same command" in done.err


@pytest.mark.parametrize("more", [["--unit", "4"], []], ids=["4", "without"])
def test_an_interrupted_run_is_continued_to_the_same_bytes(
    ettin: Ettin, notes: Path, more: list[str]
) -> None:
    assert ettin("index", str(notes), "-i", "whole").code == 0
    interrupted_after(ettin, notes, 2)
    done = ettin("index", str(notes), "-i", "units", *more)
    assert "8 passages embedded, 15 kept" in done.err
    # The error of the token vectors is that of all texts, in the manifest.
    assert contents("units") == contents("whole")


def test_a_run_without_units_is_continued_in_units(ettin: Ettin, notes: Path) -> None:
    from ettin_cli.index import writer
    from ettin_cli.index.token_writer import TokenShards

    assert ettin("index", str(notes), "-i", "whole").code == 0
    add = TokenShards.add

    def stops(self: TokenShards, *rest: object) -> None:
        if self.next == 2:
            raise KeyboardInterrupt
        add(self, *rest)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "SHARD_ROWS", 5)
        patch.setattr(TokenShards, "add", stops)
        assert ettin("index", str(notes), "-i", "units").code == 130
    done = ettin("index", str(notes), "-i", "units", "--unit", "7")
    assert "12 passages embedded, 11 kept" in done.err
    assert contents("units") == contents("whole")


def test_a_damaged_unit_is_embedded_again(ettin: Ettin, notes: Path) -> None:
    assert ettin("index", str(notes), "-i", "whole").code == 0
    interrupted_after(ettin, notes, 2)
    part = sorted(Path("units").rglob("*.unit"))[0]
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)
    done = ettin("index", str(notes), "-i", "units", "--unit", "7")
    assert "15 passages embedded" in done.err
    assert contents("units") == contents("whole")


POISONED = """
import os, sys
from ettin_cli.indexing import embedding_units
embedded = embedding_units._embedded
def ends(embedder, texts, *rest):
    if any("Note 9" in text for text in texts):
        os._exit(9)
    return embedded(embedder, texts, *rest)
embedding_units._embedded = ends
from ettin_cli.cli import main
main()
"""


def test_a_unit_that_ends_its_process_is_given_up_and_the_others_are_kept(
    ettin: Ettin, notes: Path
) -> None:
    words = ["index", str(notes), "-i", "units", "--unit", "7"]
    ended = subprocess.run([sys.executable, "-c", POISONED, *words], check=False)
    assert ended.returncode == 9
    [note] = Path("units").rglob("starts/*")
    assert note.name.startswith("part-000001-")
    # As two more runs would leave them.
    for number in range(2):
        shutil.copy(note, f"{note}{number}")
    done = ettin(*words)
    assert done.code == 1
    assert "given up after 3 starts that ended their worker: unit 1 of 7 rows" in done.err
    assert "hint: run the same command to try them again" in done.err
    assert not Path("units/manifest.json").exists()
    assert "7 passages embedded" in ettin(*words).err
    assert ettin("index", str(notes), "-i", "whole").code == 0
    assert contents("units") == contents("whole")


def test_what_a_worker_loads_must_be_the_embedder_of_the_driver(
    ettin: Ettin, tmp_path: Path
) -> None:
    card = read_card(find_embedder("embedded", offline=True, reporter=Silence()))
    named = NamedEmbedder(card, EngineSettings(), True, tmp_path)
    assert named.load(Silence()).card == card
    other = replace(named, card=replace(card, weights="0" * 64))
    with pytest.raises(EttinError, match="is not the driver's") as error:
        other.load(Silence())
    assert error.value.code == "workers-differ"
    with pytest.raises(EttinError, match="but the driver has 0"):
        replace(named, version="0").load(Silence())


def test_units_keep_their_numbers_when_a_run_is_continued(
    ettin: Ettin, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[list[str]] = []
    units = embedding_units._units

    def noted(*words: object) -> Iterator[Unit]:
        every = list(units(*words))  # type: ignore[arg-type]
        made.append([unit.name for unit in every])
        return iter(every)

    monkeypatch.setattr(embedding_units, "_units", noted)
    interrupted_after(ettin, notes, 2)
    assert ettin("index", str(notes), "-i", "units", "--unit", "7").code == 0
    first, second = made
    assert (len(first), second) == (4, first[2:])


def test_placement_is_checked_before_anything_is_written(
    ettin: Ettin, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ettin_cli.clusters import placement

    words = ["index", str(notes), "-i", "new"]
    assert "--workers needs --on ray" in ettin(*words, "--workers", "2").err
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    assert "ray job submit --address http://head:8265" in ettin(*words, "--on", "ray").err
    monkeypatch.delenv("RAY_ADDRESS")
    monkeypatch.setattr(placement, "find_spec", lambda name: None)
    done = ettin(*words, "--on", "ray")
    assert (done.code, "pip install 'ettin-cli[ray]'" in done.err) == (2, True)
    assert not Path("new").exists()
