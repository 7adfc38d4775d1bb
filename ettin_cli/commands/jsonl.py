"""JSONL output of commands: to a file that appears once complete, or to stdout."""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

from ettin_cli.console import EscapedStdout, destination
from ettin_cli.errors import UsageError
from ettin_cli.files import output_file
from ettin_cli.files.writers import JSONL


def check_jsonl(output: Path | None, usual: str) -> None:
    """Check that JSONL can be written to an output.

    Args:
        usual: The usual name of such a file.

    Raises:
        UsageError: The suffix is that of another format.
        OutputError: The folder of the file does not exist.
    """
    named = output is not None and str(output) != "-"
    if named and cast(Path, output).suffix.lower() not in JSONL.suffixes:
        raise UsageError(f"cannot write {output}: the format is JSONL", hint=f"-o {usual}")
    destination(JSONL.name, output)


def write_jsonl(records: Iterable[Mapping[str, Any]], output: Path | None) -> None:
    """Write one JSON line per record, as they arrive.

    Raises:
        OutputError: The file cannot be written; an earlier file of that name is kept.
    """
    import orjson

    lines = (orjson.dumps(record) + b"\n" for record in records)
    if output is not None and str(output) != "-":
        with output_file(output) as file:
            file.writelines(lines)
        return
    stdout = cast(BinaryIO, EscapedStdout()) if sys.stdout.isatty() else sys.stdout.buffer
    for line in lines:
        stdout.write(line)
    stdout.flush()
