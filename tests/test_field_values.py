"""Filters find the rows that the metadata of each passage says, and damage is never an answer."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from ettin_cli.commands.hints import hint_of
from ettin_cli.errors import IndexDamagedError
from ettin_cli.index import field_values, field_values_writer
from ettin_cli.index.field_values import VALUE_BLOCKS, VALUES, FieldValues, Filter, ScannedValues
from ettin_cli.index.field_values_writer import write_field_values
from ettin_cli.index.manifest import FileRecord, read_manifest, write_manifest
from ettin_cli.index.passages import PASSAGES, Passages, PassageWriter
from ettin_cli.index.reader import Index
from ettin_cli.indexing.repairing import repair_index
from ettin_cli.indexing.requests import BuildRequest
from ettin_cli.records import Passage, Silence
from ettin_cli.storage import checksum
from tests.indexes import Builder

NAMES = (VALUES, VALUE_BLOCKS)
FIELDS = ["a", "a.b", "1:a", "", "é", "a\0", "b"]
Metadata = dict[str, Any]

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "1", "true", "None", "x", "y:z", "🛶", "\uffff", "a" * 90])
    | st.text(max_size=4)
)
nested = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
    ),
    max_leaves=4,
)
records = st.dictionaries(st.sampled_from(FIELDS), nested, max_size=4)
# Runs of passages with the same metadata.
tables = st.lists(st.tuples(records, st.integers(1, 4)), max_size=20).map(
    lambda runs: [record for record, size in runs for _ in range(size)]
)


def written(folder: Path, table: Sequence[Metadata]) -> Passages:
    folder.mkdir(exist_ok=True)
    writer = PassageWriter(folder / PASSAGES)
    for number, metadata in enumerate(table):
        writer.add(Passage(f"d{number}", "text", metadata=metadata), 0)
    writer.close()
    passages = Passages(folder / PASSAGES, len(table))
    write_field_values(folder, passages)
    return passages


def opened(folder: Path, rows: int) -> FieldValues:
    paths = [folder / name for name in NAMES]
    files = {one.name: FileRecord(one.stat().st_size, checksum(one)) for one in paths}
    return FieldValues(folder, rows, files)


def values_in(metadata: Metadata, field: str) -> set[str]:
    value = metadata.get(field)
    shown = set()
    for item in value if isinstance(value, list) else [value]:
        if item is True or item is False:
            shown.add("true" if item else "false")
        elif item is not None:
            shown.add(str(item))
    return shown


def begins(beginning: str, text: str) -> bool:
    return text.startswith(beginning)


def rows_of(table: Sequence[Metadata], wanted: Mapping[str, set[str]]) -> list[int]:
    return [
        row
        for row, metadata in enumerate(table)
        if all(values_in(metadata, field) & some for field, some in wanted.items())
    ]


@settings(max_examples=15)
@given(tables, st.data())
def test_filters_find_the_rows_whose_metadata_has_the_values(
    tmp_path_factory: pytest.TempPathFactory, table: list[Metadata], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("v")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(field_values_writer, "BLOCK_BYTES", data.draw(st.sampled_from([9, 300])))
        whole, pieces = written(folder / "whole", table), folder / "pieces"
        pieces.mkdir()
        patch.setattr(field_values_writer, "MOST_OCCURRENCES", data.draw(st.integers(1, 9)))
        write_field_values(pieces, whole)
        for name in NAMES:
            assert (pieces / name).read_bytes() == (folder / "whole" / name).read_bytes()
        assert sorted(path.name for path in pieces.iterdir()) == sorted(NAMES)
        patch.setattr(field_values, "FEW", data.draw(st.sampled_from([0, 2, 30])))
        patch.setattr(field_values, "PIECE_ROWS", data.draw(st.sampled_from([3, 100])))
        compare(pieces, whole, table, data)


def compare(folder: Path, whole: Passages, table: Sequence[Metadata], data: st.DataObject) -> None:
    known = sorted({(f, v) for one in table for f in one for v in values_in(one, f)})
    filters = st.sampled_from([*known, ("a", "no such"), ("x", "y"), ("", ""), ("a", "\udc80")])
    chosen = [data.draw(filters) for _ in range(4)]
    for fields in (opened(folder, len(table)), ScannedValues(whole)):
        for field, value in chosen:
            found = fields.passing([(field, value)])
            assert found.dtype == np.int64
            assert found.tolist() == rows_of(table, {field: {value}})
            assert fields.has(field) == any(values_in(one, field) for one in table)
            beginning = value[:1]
            assert fields.matching(field, partial(begins, beginning)).tolist() == [
                row
                for row, one in enumerate(table)
                if any(text.startswith(beginning) for text in values_in(one, field))
            ]
        (one, first), (other, second), (_, third), _ = chosen
        for several in ((first, third), (first, first), ()):
            both = {one: set(several)}
            assert fields.passing([(one, several)]).tolist() == rows_of(table, both)
        if one != other:
            both = {one: {first}, other: {second, third}}
            found = fields.passing([(one, first), (other, (second, third))])
            assert found.tolist() == rows_of(table, both)


def test_values_that_share_their_beginning_are_of_their_own_field(tmp_path: Path) -> None:
    table: list[Metadata] = [{"a": "b:c"}, {"a:b": "c"}, {"1:a": "x", "aa": ["b"]}, {"a": 7}]
    written(tmp_path, table)
    fields = opened(tmp_path, 4)
    assert fields.passing([("a", "b:c")]).tolist() == [0]
    assert fields.passing([("a:b", "c")]).tolist() == [1]
    assert fields.matching("a", lambda _: True).tolist() == [0, 3]
    assert [fields.has(name) for name in ("a", "aa", "1:a", "1", ":", "")] == [
        *[True] * 3,
        *[False] * 3,
    ]


@pytest.fixture
def folder(tmp_path: Path, build: Builder) -> Path:
    docs = tmp_path / "docs"
    docs.mkdir()
    lines = [
        {"_id": str(n), "text": f"ferry {n}", "port": ["west", n % 3], "n": n} for n in range(9)
    ]
    (docs / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (docs / "b.md").write_text("bread\n")
    build(tmp_path / "i", docs)
    return tmp_path / "i"


def answers(index: Index) -> Iterator[list[int] | bool]:
    several: list[list[Filter]] = [
        [("port", "1")],
        [("port", ("west", "0")), ("n", "3")],
        [("no", "1")],
    ]
    for filters in several:
        yield index.select(filters, []).tolist()
        yield index.select(filters, ["*.jsonl"]).tolist()
        yield index.select(filters, ["*.md"]).tolist()
    for field in ("port", "no", "title"):
        yield index.holding(field, lambda text: text in "waves of the west").tolist()
        yield index.has_field(field)


def test_an_index_without_them_is_filtered_by_its_passages_until_it_gets_them(
    folder: Path, tmp_path: Path, build: Builder
) -> None:
    expected = list(answers(Index(folder)))
    manifest = read_manifest(folder)
    files = {name: one for name, one in manifest.files.items() if name not in NAMES}
    for name in NAMES:
        (folder / "generations" / manifest.generation / name).unlink()
    write_manifest(folder, replace(manifest, files=files))
    earlier = Index(folder)
    assert list(answers(earlier)) == expected
    (tmp_path / "docs" / "c.md").write_text("an oven\n")
    build(folder)
    updated = Index(folder)
    assert set(NAMES) <= set(updated.manifest.files)
    assert list(answers(updated)) == expected


def test_no_flipped_bit_changes_an_answer(folder: Path) -> None:
    generation, expected = Index(folder).generation, list(answers(Index(folder)))
    told = 0
    for name in NAMES:
        path = generation / name
        content = path.read_bytes()
        for at in range(0, len(content), 7):
            changed = bytearray(content)
            changed[at] ^= 1 << at % 8
            path.unlink()
            path.write_bytes(changed)
            try:
                assert list(answers(Index(folder))) == expected
            except IndexDamagedError as error:
                assert error.problem == f"{path} is damaged"
                assert hint_of(error) == f"ettin verify -i {folder} --repair"
                told += 1
        path.unlink()
        path.write_bytes(content)
    assert told > 100


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("how", ["missing", "flipped"])
def test_a_damaged_file_is_made_again(folder: Path, name: str, how: str) -> None:
    path = Index(folder).generation / name
    content = bytearray(path.read_bytes())
    path.unlink()
    if how == "flipped":
        changed = bytearray(content)
        changed[len(content) // 2] ^= 16
        path.write_bytes(changed)
    report = repair_index(BuildRequest(folder, offline=True), Silence())
    assert report.damaged == [str(path)]
    assert (Index(folder).generation / name).read_bytes() == content
