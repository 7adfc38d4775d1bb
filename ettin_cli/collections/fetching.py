"""A dataset repository -> its files in huggingface_hub's cache, downloaded once.

The list of a repository's files is remembered, so that a complete copy needs no request, and an
incomplete one is known as such.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ettin_cli.collections.layout import CARD
from ettin_cli.errors import CommitGoneError, CorpusError, EttinError
from ettin_cli.models import (
    MB,
    HubDataset,
    HubProblem,
    Trouble,
    failed,
    hub_problem,
    hub_warnings_to,
    is_offline,
    note_use,
    outage,
    promptly,
    recall,
    refused,
    remember_fact,
    remember_outage,
    transfer,
    unwritable,
)
from ettin_cli.records import Reporter
from ettin_cli.settings import HUB_TIMEOUT_S

LISTINGS = "datasets.json"
NEWEST = "main"
DATASET = "dataset"


@dataclass(frozen=True, slots=True)
class DatasetFiles:
    """The files of a dataset repository at a commit.

    Args:
        sizes: The bytes of each file by name, downloaded or not.
        offline: Whether the network is disabled.
        pinned: Whether no other commit will do.
    """

    repository: str
    commit: str
    sizes: Mapping[str, int]
    offline: bool
    reporter: Reporter
    pinned: bool = False

    def cached(self, name: str) -> Path | None:
        """Return a file's path in the cache; None if it has not been downloaded."""
        from huggingface_hub import try_to_load_from_cache

        path = try_to_load_from_cache(
            self.repository, name, revision=self.commit, repo_type=DATASET
        )
        return Path(path) if isinstance(path, str) else None

    def card(self) -> str:
        """Return the dataset card; empty if there is none."""
        if CARD not in self.sizes:
            return ""
        [path] = self.paths([CARD])
        return path.read_text(encoding="utf-8", errors="replace")

    def paths(self, names: Sequence[str]) -> list[Path]:
        """Return the paths of some files, after downloading those that are not cached.

        Raises:
            CommitGoneError: One is not cached, and the hub no longer has the commit.
            CorpusError: One is not cached, and cannot be downloaded.
        """
        missing = [name for name in names if self.cached(name) is None]
        if missing and self.offline:
            raise unavailable(f"{missing[0]} of the dataset {self.repository}", self.repository)
        if missing:
            self._download(missing)
        return [path for name in names if (path := self.cached(name))]

    def _download(self, names: Sequence[str]) -> None:
        size = sum(self.sizes[name] for name in names)
        if names != [CARD]:
            shown = f"{', '.join(names)} of {self.repository} ({math.ceil(size / MB):,} MB)"
            self.reporter.notice(f"downloading {shown}")
        smallest_first = sorted(names, key=lambda name: (self.sizes[name], name))
        with hub_warnings_to(self.reporter):
            try:
                transfer(self.repository, self.commit, smallest_first, size, self.reporter, DATASET)
            except Exception as error:
                problem = hub_problem(error)
                if problem.trouble is not Trouble.UNREACHABLE:
                    remember_outage(problem)
                raise self.error(problem) from error

    def error(self, problem: HubProblem, *, begun: bool = True) -> EttinError:
        """Return the error of a request for a file; a commit that is gone is forgotten.

        Args:
            begun: Whether a download was begun, rather than a question asked.
        """
        if problem.trouble is not Trouble.NO_REVISION or self.pinned:
            wanted = HubDataset(self.repository, self.commit)
            return (failed if begun else refused)(wanted, problem)
        key = f"{self.repository}@{NEWEST}"
        if (recall(LISTINGS).get(key) or {}).get("commit") == self.commit:
            remember_fact(LISTINGS, key, None)
        return CommitGoneError(
            f"the hub no longer has the commit {self.commit} of the dataset {self.repository}",
            code="collection-changed",
            name=self.repository,
        )


def dataset_files(
    repository: str, revision: str | None, *, offline: bool, reporter: Reporter
) -> DatasetFiles:
    """Return the files of a dataset repository; the hub is asked for their names only once.

    Args:
        revision: A commit; None: the newest.

    Raises:
        CorpusError: They are not known, and the hub cannot be asked or has no such repository.
    """
    offline = is_offline(offline)
    key = f"{repository}@{revision or NEWEST}"
    known: dict[str, Any] | None = recall(LISTINGS).get(key)
    if known is None:
        if offline:
            raise unavailable(f"the dataset {repository}", repository)
        with hub_warnings_to(reporter):
            known = _asked(HubDataset(repository, revision))
        remember_fact(LISTINGS, key, known)
    else:
        note_use(LISTINGS)
    pinned = revision is not None
    return DatasetFiles(repository, known["commit"], known["files"], offline, reporter, pinned)


def _asked(wanted: HubDataset) -> dict[str, Any]:
    from huggingface_hub import HfApi

    if problem := outage():
        raise refused(wanted, problem)
    try:
        info = promptly(
            lambda: HfApi().dataset_info(
                wanted.hub_id,
                revision=wanted.revision,
                timeout=HUB_TIMEOUT_S,
                files_metadata=True,
            )
        )
    except Exception as error:
        problem = hub_problem(error)
        remember_outage(problem)
        raise refused(wanted, problem) from error
    files = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    return {"commit": info.sha, "files": files}


def require_room(wanted: Sequence[tuple[DatasetFiles, str]]) -> int:
    """Return the bytes that are to be downloaded before some files are all here.

    Raises:
        CorpusError: The network is disabled, or the cache has less room.
    """
    from huggingface_hub import constants

    missing = [(files, name) for files, name in wanted if files.cached(name) is None]
    size = sum(files.sizes[name] for files, name in missing)
    for files, name in missing:
        if files.offline:
            raise unavailable(f"{name} of the dataset {files.repository}", files.repository)
    cache = Path(constants.HF_HUB_CACHE)
    place = next((folder for folder in (cache, *cache.parents) if folder.exists()), cache.parent)
    free = shutil.disk_usage(place).free
    if size > free:
        repository = missing[0][0].repository
        why = f"{repository} takes {math.ceil(size / MB):,} MB, and {free // MB:,} MB are free"
        raise unwritable(HubDataset(repository, None), why)
    return size


def unavailable(what: str, repository: str) -> CorpusError:
    """Return the error of what is not in the cache while the network is disabled."""
    return CorpusError(
        f"{what} is not on this machine, and the network is disabled",
        code="collection-unavailable",
        name=repository,
    )
