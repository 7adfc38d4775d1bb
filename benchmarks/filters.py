"""Measure filters in an index of many passages, beside parsing the metadata of each.

    python benchmarks/filters.py [--rows 10000000] [--document 3] [--scan 200000]

Writes the passages file of synthetic documents to a temporary folder, with metadata of six fields:
a url that each document has alone, a day of 20 years, one of 5 languages by Zipf's law, two tags of
2,000, a number with a fraction, and whether the document is a draft. Then it writes the values of
the fields as an index has them, and compares filters by these values with a scan of the first
passages, whose time is scaled up to all.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from ettin_cli.index.field_values import (
    VALUE_BLOCKS,
    VALUES,
    FieldValues,
    Filter,
    ScannedValues,
)
from ettin_cli.index.field_values_writer import write_field_values
from ettin_cli.index.manifest import FileRecord
from ettin_cli.index.passages import PASSAGES, Passages, passage_schema
from ettin_cli.storage import checksum

LANGUAGES = ["en", "de", "fr", "nl", "fy"]
BATCH_ROWS = 1024


def main() -> None:
    """Write passages and values, and print the processor time of each filter both ways."""
    parser = argparse.ArgumentParser(description="Measure filters in a large index.")
    parser.add_argument("--rows", type=int, default=10_000_000, help="number of passages")
    parser.add_argument("--document", type=int, default=3, help="passages a document")
    parser.add_argument("--scan", type=int, default=200_000, help="passages that are parsed")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write(folder, given.rows, given.document)
        build(folder, given.rows)
        compare(folder, given.rows, min(given.rows, given.scan))


def write(folder: Path, rows: int, per_document: int) -> None:
    """Write passages.arrow, with metadata and little else."""
    chance = np.random.default_rng(1)
    odds = 1 / np.arange(1, len(LANGUAGES) + 1)
    schema = passage_schema()
    records: list[str] = []
    with (
        pa.OSFile(str(folder / PASSAGES), "wb") as sink,
        pa.ipc.new_file(sink, schema) as file,
    ):
        for begin in range(0, rows, BATCH_ROWS):
            size = min(BATCH_ROWS, rows - begin)
            while len(records) < size:
                made = documents(BATCH_ROWS, begin, odds / odds.sum(), chance)
                records += [record for record in made for _ in range(per_document)]
            own, records = records[:size], records[size:]
            columns = {"metadata": pa.array(own, pa.string()), "file": pa.repeat(0, size)}
            arrays = [
                columns[field.name].cast(field.type)
                if field.name in columns
                else pa.nulls(size, field.type)
                for field in schema
            ]
            file.write_batch(pa.record_batch(arrays, schema))


def documents(count: int, first: int, odds: Any, chance: np.random.Generator) -> list[str]:
    """Return the metadata of some documents."""
    days, languages = chance.integers(0, 7305, count), chance.choice(LANGUAGES, count, p=odds)
    tags, scores = chance.integers(0, 2000, (count, 2)), chance.integers(0, 10_000, count)
    drafts = chance.random(count) < 0.01
    return [
        orjson.dumps(
            {
                "url": f"https://library.example.org/{first:x}/documents/{number}",
                "day": str(np.datetime64("2005-01-01") + days[number]),
                "language": str(languages[number]),
                "tags": [f"tag-{tag}" for tag in tags[number]],
                "score": int(scores[number]) / 100,
                "draft": bool(drafts[number]),
            }
        ).decode()
        for number in range(count)
    ]


def build(folder: Path, rows: int) -> None:
    """Write the values of the fields, and print what that costs."""
    begun = time.process_time()
    write_field_values(folder, Passages(folder / PASSAGES, rows))
    seconds = time.process_time() - begun
    size = sum((folder / name).stat().st_size for name in (VALUES, VALUE_BLOCKS))
    texts = sum(block.nbytes for (block,) in Passages(folder / PASSAGES, rows).blocks("metadata"))
    print(
        f"{rows:,} passages, {texts / rows:.0f} bytes of metadata each: written in {seconds:.1f} s "
        f"of CPU, {1e6 * seconds / rows:.2f} µs and {size / rows:.1f} bytes a passage, "
        f"directory {(folder / VALUES).stat().st_size / 1e6:.2f} MB"
    )


def compare(folder: Path, rows: int, scanned: int) -> None:
    """Print the processor time of filters, and check them by a scan of the first passages."""
    files = {
        name: FileRecord((folder / name).stat().st_size, checksum(folder / name))
        for name in (VALUES, VALUE_BLOCKS)
    }
    passages = Passages(folder / PASSAGES, rows)
    first = orjson.loads(passages.column("metadata", [0])[0])
    filters: list[Sequence[Filter]] = [
        [("url", first["url"])],
        [("day", first["day"])],
        [("tags", first["tags"][0])],
        [("language", "en")],
        [("draft", "false")],
        [("language", ("de", "fr", "nl"))],
        [("language", "en"), ("draft", "false")],
        [("language", "en"), ("draft", "false"), ("tags", first["tags"][1])],
        [("draft", "maybe")],
    ]
    scan = ScannedValues(First(passages, scanned))
    for some in filters:
        begun = time.process_time()
        fields = FieldValues(folder, rows, files)
        found = fields.passing(some)
        opened = time.process_time() - begun
        begun = time.process_time()
        again = fields.passing(some)
        spent = time.process_time() - begun
        begun = time.process_time()
        expected = scan.passing(some)
        parsing = (time.process_time() - begun) * rows / scanned
        assert again.tolist() == found.tolist()
        assert found[: np.searchsorted(found, scanned)].tolist() == expected.tolist()
        shown = ", ".join(f"{name}={value}" for name, value in some)
        print(
            f"{shown:75.75} {len(found):10,} rows: {1000 * opened:6.1f} ms of CPU with opening, "
            f"{1000 * spent:6.1f} ms again, {1000 * parsing:8.0f} ms by parsing"
        )
    for field in ("language", "day", "nothing"):
        begun = time.process_time()
        found = fields.matching(field, lambda value: value in ("en", first["day"]))
        spent = time.process_time() - begun
        print(f"values of {field}: {1000 * spent:.1f} ms of CPU, {len(found):,} rows")


class First(Passages):
    """The first passages of a file."""

    def __init__(self, whole: Passages, rows: int) -> None:
        self.path, self._rows = whole.path, rows
        self.__dict__["table"] = whole.table.slice(0, rows)


if __name__ == "__main__":
    main()
