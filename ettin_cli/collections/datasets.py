"""A dataset repository by name -> the Parquet files of its training splits, with their rows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ettin_cli.collections.fetching import DatasetFiles, dataset_files
from ettin_cli.collections.footers import Footer, footers
from ettin_cli.collections.layout import card_metadata, configurations
from ettin_cli.collections.registry import UNSTATED, licence_in_words
from ettin_cli.errors import CommitGoneError, CorpusError
from ettin_cli.records import Reporter

TRAIN, PARQUET = "train", ".parquet"
_NAME = re.compile(r"(\w[\w.-]*/[\w.-]+)(?:/([\w.-]+))?")


@dataclass(frozen=True, slots=True)
class Shard:
    """A file of a table, by its name in the repository.

    Args:
        types: The columns, and their types as Arrow names them.
    """

    name: str
    rows: int
    bytes: int
    types: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Table:
    """The training split of a configuration.

    Args:
        name: As in "owner/name/configuration".
        licence: Of the dataset; UNSTATED if its card states none.
    """

    name: str
    columns: Sequence[str]
    shards: Sequence[Shard]
    files: DatasetFiles
    licence: str

    @property
    def rows(self) -> int:
        """The number of rows of all shards."""
        return sum(shard.rows for shard in self.shards)

    def reporting_to(self, reporter: Reporter) -> Table:
        """Return the table with another reporter of its downloads."""
        return replace(self, files=replace(self.files, reporter=reporter))


@dataclass(frozen=True, slots=True)
class Dataset:
    """What a dataset repository has to train on.

    Args:
        tables: In the order of the dataset card.
        left_out: Why other configurations cannot be read, by name.
    """

    tables: Sequence[Table]
    left_out: Mapping[str, str]


def is_dataset_name(text: str) -> bool:
    """Return whether a text has the form of a dataset's name, or of one of its configurations.

    >>> is_dataset_name("owner/name"), is_dataset_name("owner/name/part"), is_dataset_name("./a/b")
    (True, True, False)
    """
    return _NAME.fullmatch(text) is not None


def open_dataset(name: str, *, offline: bool, reporter: Reporter) -> Dataset:
    """Return the training splits of a dataset; of its files only the ends are requested.

    The licence is reported first, and the splits that are not for training.

    Args:
        name: As in "owner/name", or "owner/name/configuration" for one of its configurations.

    Raises:
        CorpusError: There is no such dataset or configuration, or the hub cannot be asked.
    """
    try:
        return _opened(name, offline=offline, reporter=reporter)
    except CommitGoneError as error:
        # Nothing of it was read.
        reporter.notice(f"{error.problem}; reading the newest")
        return _opened(name, offline=offline, reporter=reporter)


def _opened(name: str, *, offline: bool, reporter: Reporter) -> Dataset:
    match = _NAME.fullmatch(name)
    assert match
    repository, wanted = match.groups()
    files = dataset_files(repository, None, offline=offline, reporter=reporter)
    metadata = card_metadata(files.card())
    licence = _licence(metadata)
    reporter.notice(f"{repository}: {licence_in_words(licence)}")
    configs = configurations(files.sizes, metadata)
    if wanted is not None and wanted not in configs:
        raise CorpusError(
            f"{repository} has no configuration {wanted!r}",
            code="configuration-not-found",
            name=name,
            known=[f"{repository}/{config}" for config in configs],
        )
    read: dict[str, Sequence[str]] = {}
    left_out: dict[str, str] = {}
    for config, splits in configs.items():
        if wanted not in (None, config):
            continue
        if reason := _unreadable(splits):
            left_out[f"{repository}/{config}"] = reason
            continue
        read[config] = splits[TRAIN]
        if others := [split for split in splits if split != TRAIN]:
            reporter.notice(f"{repository}/{config}: not trained on: {', '.join(others)}")
    known = footers(files, [path for paths in read.values() for path in paths])
    tables = [
        Table(
            f"{repository}/{config}",
            known[paths[0]].columns,
            [_shard(path, known[path], files) for path in paths],
            files,
            licence,
        )
        for config, paths in read.items()
    ]
    return Dataset(tables, left_out)


def _shard(path: str, footer: Footer, files: DatasetFiles) -> Shard:
    types = dict(zip(footer.columns, footer.types, strict=True))
    return Shard(path, footer.rows, files.sizes[path], types)


def _unreadable(splits: Mapping[str, Sequence[str]]) -> str | None:
    """Return why a configuration cannot be read, if so."""
    if not splits:
        return "none of the files that the dataset card states is in the repository"
    if not (paths := splits.get(TRAIN)):
        return f"no split {TRAIN}"
    other = next((path for path in paths if not path.endswith(PARQUET)), None)
    return f"{other} is not Parquet" if other else None


def _licence(metadata: Mapping[str, Any]) -> str:
    licence = metadata.get("license")
    named = licence if isinstance(licence, list) else [licence]
    return ", ".join(str(one) for one in named if one) or UNSTATED
