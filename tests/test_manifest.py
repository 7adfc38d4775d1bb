"""The manifest determines the current generation, and any change to it is detected."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ettin_cli.commands.hints import hint_of
from ettin_cli.errors import EttinError, IndexDamagedError, IndexMismatchError, IndexNotFoundError
from ettin_cli.index.manifest import (
    MANIFEST,
    Counts,
    FileRecord,
    Manifest,
    RecordedSource,
    _seal,
    read_manifest,
    write_manifest,
)
from ettin_cli.records import EmbedderCard
from ettin_cli.settings import INDEX_FORMAT

WHOLE = Manifest(
    generation="000003-0a1b2c3d",
    created="2026-01-02T03:04:05+00:00",
    version="0.1.0",
    embedder=EmbedderCard("a/b", "abc", "f" * 64, 384, 256, "query: ", "passage: "),
    chunk_size="auto",
    chunk_overlap=16,
    factory="IVF16,Flat",
    recall=0.995,
    search={"nprobe": 16},
    counts=Counts(1, 2, 3, 4, 5),
    sources=(RecordedSource("docs", ("*.md",), ("old/*",), "key", "body"), RecordedSource("-")),
    files={"passages.arrow": FileRecord(12, "ab"), "vectors.faiss": FileRecord(34, "cd")},
    asked="IVF16,Flat",
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_manifest(tmp_path, WHOLE)
    return tmp_path / MANIFEST


def leaves(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the place of every value in a JSON document."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        if isinstance(inner, (dict, list)):
            yield from leaves(inner, (*place, key))
        yield (*place, key)


def put(document: Any, place: tuple[Any, ...], value: object) -> None:
    for key in place[:-1]:
        document = document[key]
    document[place[-1]] = value


@pytest.mark.parametrize("size", [None, "auto", 128])
def test_what_is_written_is_read_again(tmp_path: Path, size: int | str | None) -> None:
    manifest = replace(WHOLE, chunk_size=size)
    write_manifest(tmp_path, manifest)
    assert read_manifest(tmp_path) == manifest
    assert [path.name for path in tmp_path.iterdir()] == [MANIFEST]


def test_a_change_of_any_field_is_noticed(path: Path) -> None:
    whole = json.loads(path.read_bytes())
    places = list(leaves(whole))
    assert len(places) > 40
    others: list[object] = [None, "x", -1, [], {}]
    for place in places:
        for value in others:
            altered = json.loads(json.dumps(whole))
            put(altered, place, value)
            if altered == whole:
                continue
            path.write_text(json.dumps(altered))
            with pytest.raises(IndexDamagedError, match="manifest.json is damaged"):
                read_manifest(path.parent)


def test_a_field_that_is_missing_or_too_much_is_noticed(path: Path) -> None:
    whole = json.loads(path.read_bytes())
    for name in whole:
        path.write_text(json.dumps({key: value for key, value in whole.items() if key != name}))
        with pytest.raises(IndexDamagedError):
            read_manifest(path.parent)
    path.write_text(json.dumps({**whole, "more": 1}))
    with pytest.raises(IndexDamagedError):
        read_manifest(path.parent)


def test_a_field_that_this_version_does_not_know_is_damage_though_it_is_sealed(path: Path) -> None:
    body = json.loads(path.read_bytes())
    del body["checksum"]
    changes: list[dict[str, Any]] = [
        {"more": 1},
        {"counts": {"files": 1, "pages": 2}},
        {"sources": [{}]},
    ]
    for change in changes:
        altered = {**body, **change}
        path.write_text(json.dumps({**altered, "checksum": _seal(altered)}))
        with pytest.raises(IndexDamagedError):
            read_manifest(path.parent)


def test_any_flipped_byte_and_any_cut_is_noticed(path: Path) -> None:
    whole = path.read_bytes()
    for at in range(len(whole) - 1):
        flipped = bytearray(whole)
        flipped[at] ^= 1 << at % 7
        for content in (bytes(flipped), whole[:at]):
            path.write_bytes(content)
            with pytest.raises((IndexDamagedError, IndexMismatchError)):
                read_manifest(path.parent)


@pytest.mark.parametrize("content", ["", "null", "[]", "1", '"x"', "{}", "{", '{"format": 1}'])
def test_what_is_no_manifest_is_damaged_and_the_hint_rebuilds(path: Path, content: str) -> None:
    path.write_text(content)
    with pytest.raises(IndexDamagedError) as caught:
        read_manifest(path.parent)
    assert hint_of(caught.value) == f"ettin index SOURCE -i {path.parent} --rebuild"


@pytest.mark.parametrize("rest", [{}, {"checksum": "of another kind", "embedder": 5}])
def test_a_newer_format_is_refused_by_its_number_whatever_else_it_holds(
    path: Path, rest: dict[str, object]
) -> None:
    path.write_text(json.dumps({"format": INDEX_FORMAT + 6, **rest}))
    with pytest.raises(IndexMismatchError, match=f"index format {INDEX_FORMAT + 6}, newer") as it:
        read_manifest(path.parent)
    assert hint_of(it.value) == "pip install --upgrade ettin-cli"


def test_where_there_is_no_index_the_hint_makes_one(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(IndexNotFoundError, match="no index at") as caught:
            read_manifest(folder)
        assert hint_of(caught.value) == f"ettin index SOURCE -i {folder}"
    (tmp_path / "file").write_text("")
    with pytest.raises(IndexNotFoundError, match="is a file"):
        read_manifest(tmp_path / "file")


def test_a_manifest_that_cannot_be_read_is_said_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).mkdir()
    with pytest.raises(EttinError, match="cannot read .*manifest.json: Is a directory"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("name", ["../elsewhere", "/etc", "..", "", "a/b"])
def test_a_manifest_that_names_what_is_outside_of_its_folder_is_damaged(
    tmp_path: Path, name: str
) -> None:
    write_manifest(tmp_path, replace(WHOLE, generation=name))
    with pytest.raises(IndexDamagedError):
        read_manifest(tmp_path)
    write_manifest(tmp_path, replace(WHOLE, files={name: FileRecord(1, "x")}))
    with pytest.raises(IndexDamagedError):
        read_manifest(tmp_path)
