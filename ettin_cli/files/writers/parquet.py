"""Parquet: a row per hit."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any, BinaryIO

from ettin_cli.files.writers.writer import BinaryWriter, Layout
from ettin_cli.records import hits_schema

ROWS = 8192


class Parquet(BinaryWriter):
    """Typed, compressed columns, written in blocks of ROWS rows."""

    name = "parquet"
    suffixes = (".parquet",)

    def write(self, rows: Iterable[dict[str, Any]], file: BinaryIO, layout: Layout) -> None:
        """Write rows as they arrive."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema, waiting = hits_schema(text=layout.text), iter(rows)
        with pq.ParquetWriter(file, schema, compression="zstd") as writer:
            while block := list(islice(waiting, ROWS)):
                writer.write_table(pa.Table.from_pylist(block, schema))


PARQUET = Parquet()
