"""Files that go in and out: queries, runs, requests, output formats, resumable outputs."""

from ettin_cli.files.output import output_errors, output_file
from ettin_cli.files.queries import read_queries
from ettin_cli.files.resuming import Digested, ResumableFile, ResumableOutput, files_beside
from ettin_cli.files.trec import read_qrels, read_run, without_spaces

__all__ = [
    "Digested",
    "ResumableFile",
    "ResumableOutput",
    "files_beside",
    "output_errors",
    "output_file",
    "read_qrels",
    "read_queries",
    "read_run",
    "without_spaces",
]
