"""Parquet files of a dataset repository -> their rows and columns, without downloading them.

Only the end of a file that is not cached is requested. What it says is remembered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace

from ettin_cli.collections.fetching import DATASET, DatasetFiles, unavailable
from ettin_cli.errors import CorpusError, first_line
from ettin_cli.models import (
    FileError,
    each_requested,
    hub_problem,
    hub_warnings_to,
    note_use,
    outage,
    recall,
    remember_fact,
    remember_outage,
)
from ettin_cli.settings import HUB_TIMEOUT_S

FOOTERS = "parquet-footers.json"
# The length of the footer, and the mark of the format.
LAST_BYTES = 8
# Most footers are shorter, so that one request is enough.
USUAL_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Footer:
    """What the end of a Parquet file says.

    Args:
        types: Of each column, as Arrow names it, such as "string" or "list<element: string>".
    """

    rows: int
    columns: Sequence[str]
    types: Sequence[str]


def footers(files: DatasetFiles, names: Sequence[str]) -> dict[str, Footer]:
    """Return the footers of some Parquet files of a repository.

    Raises:
        CorpusError: One is neither known nor to be had, or the file is not valid.
    """
    key = f"{files.repository}@{files.commit}"
    # Those of an earlier version lack the types.
    stored = {name: facts for name, facts in recall(FOOTERS).get(key, {}).items() if len(facts) > 2}
    known = {name: Footer(*facts) for name, facts in stored.items()}
    note_use(FOOTERS)
    missing = [name for name in names if name not in known]
    if missing:
        try:
            _read(files, missing, known)
        finally:
            remember_fact(FOOTERS, key, {name: astuple(footer) for name, footer in known.items()})
    return {name: known[name] for name in names}


def _read(files: DatasetFiles, names: Sequence[str], known: dict[str, Footer]) -> None:
    """Add the footers of some files to those known; before an error, those read until then."""
    absent = [name for name in names if files.cached(name) is None]
    if files.offline and absent:
        raise unavailable(f"{absent[0]} of the dataset {files.repository}", files.repository)
    if absent and (problem := outage()):
        raise files.error(replace(problem, file=absent[0]), begun=False)
    with (
        hub_warnings_to(files.reporter),
        files.reporter.track("reading footers", len(names), "files") as advance,
    ):
        try:
            for name, footer in each_requested(lambda name: _footer(files, name), names):
                known[name] = footer
                advance(1)
        except FileError as error:
            problem = hub_problem(error)
            remember_outage(problem)
            raise files.error(problem, begun=False) from error.error


def _footer(files: DatasetFiles, name: str) -> Footer:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = files.cached(name)
    try:
        metadata = pq.read_metadata(path or pa.BufferReader(_fetched(files, name)))
    except (pa.ArrowException, OSError) as error:
        raise CorpusError(
            f"{name} of {files.repository} is not a valid Parquet file: {first_line(error)}",
            code="cannot-read",
        ) from error
    schema = metadata.schema.to_arrow_schema()
    return Footer(metadata.num_rows, schema.names, list(map(str, schema.types)))


def _fetched(files: DatasetFiles, name: str) -> bytes:
    """Return the end of a file, with all of its footer."""
    end = _end(files, name, USUAL_BYTES)
    length = int.from_bytes(end[-LAST_BYTES : -LAST_BYTES // 2], "little") + LAST_BYTES
    return end if length <= len(end) else _end(files, name, length)


def _end(files: DatasetFiles, name: str, length: int) -> bytes:
    """Return the last bytes of a file.

    Raises:
        FileError: They cannot be had.
    """
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import (  # type: ignore[attr-defined]
        build_hf_headers,
        hf_raise_for_status,
        http_backoff,
    )

    size = files.sizes[name]
    length = min(length, size)
    url = hf_hub_url(files.repository, name, repo_type=DATASET, revision=files.commit)
    headers = {**build_hf_headers(), "Range": f"bytes={size - length}-{size - 1}"}
    try:
        # A connection that is cut off is tried once more; what the hub says is final for now.
        response = http_backoff(
            "GET",
            url,
            headers=headers,
            timeout=HUB_TIMEOUT_S,
            max_retries=1,
            retry_on_status_codes=(),
        )
        hf_raise_for_status(response)
    except Exception as error:
        raise FileError(name, error) from error
    # A server may ignore the range.
    content: bytes = response.content[-length:]
    return content
