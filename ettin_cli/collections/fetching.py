"""A dataset repository -> its files in huggingface_hub's cache, downloaded once.

The list of a repository's files is remembered, so that a complete copy needs no request, and an
incomplete one is known as such.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ettin_cli.collections.layout import CARD
from ettin_cli.errors import CorpusError, first_line
from ettin_cli.models import is_offline, recall, remember_fact
from ettin_cli.records import Reporter
from ettin_cli.settings import HUB_TIMEOUT_S

LISTINGS = "datasets.json"
NEWEST = "main"
DATASET = "dataset"


@dataclass(frozen=True, slots=True)
class DatasetFiles:
    """The files of a dataset repository at a commit.

    Args:
        names: All of them, downloaded or not.
        offline: Whether the network is disabled.
    """

    repository: str
    commit: str
    names: Sequence[str]
    offline: bool
    reporter: Reporter

    def cached(self, name: str) -> Path | None:
        """Return a file's path in the cache; None if it has not been downloaded."""
        from huggingface_hub import try_to_load_from_cache

        path = try_to_load_from_cache(
            self.repository, name, revision=self.commit, repo_type=DATASET
        )
        return Path(path) if isinstance(path, str) else None

    def card(self) -> str:
        """Return the dataset card; empty if there is none."""
        if CARD not in self.names:
            return ""
        [path] = self.paths([CARD])
        return path.read_text(encoding="utf-8", errors="replace")

    def paths(self, names: Sequence[str]) -> list[Path]:
        """Return the paths of some files, after downloading those that are not cached.

        Raises:
            CorpusError: One is not cached, and cannot be downloaded.
        """
        from huggingface_hub import hf_hub_download

        missing = [name for name in names if self.cached(name) is None]
        if missing and self.offline:
            raise CorpusError(
                f"{missing[0]} of the dataset {self.repository} is not on this machine, and the "
                "network is disabled",
                code="collection-unavailable",
                name=self.repository,
            )
        if shown := [name for name in missing if name != CARD]:
            self.reporter.notice(f"downloading {', '.join(shown)} of {self.repository}")
        for name in missing:
            try:
                hf_hub_download(self.repository, name, revision=self.commit, repo_type=DATASET)
            except Exception as error:
                raise failed(self.repository, error) from error
        return [path for name in names if (path := self.cached(name))]


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
            raise CorpusError(
                f"the dataset {repository} is not on this machine, and the network is disabled",
                code="collection-unavailable",
                name=repository,
            )
        known = _asked(repository, revision)
        remember_fact(LISTINGS, key, known)
    return DatasetFiles(repository, known["commit"], known["files"], offline, reporter)


def _asked(repository: str, revision: str | None) -> dict[str, Any]:
    from huggingface_hub import HfApi

    try:
        info = HfApi().dataset_info(repository, revision=revision, timeout=HUB_TIMEOUT_S)
    except Exception as error:
        raise failed(repository, error) from error
    return {"commit": info.sha, "files": [file.rfilename for file in info.siblings or ()]}


def failed(repository: str, error: Exception) -> CorpusError:
    """Return the error of a request to the hub, in terms of what was wanted."""
    from huggingface_hub.errors import (
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if isinstance(error, GatedRepoError):
        return CorpusError(
            f"the dataset {repository} is gated", code="collection-gated", name=repository
        )
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, RepositoryNotFoundError | RevisionNotFoundError) or status == 401:
        return CorpusError(
            f"the hub has no dataset {repository}, or denies access to it",
            code="collection-gone",
            name=repository,
        )
    reason = first_line(error)
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        reason = "no space left on the disk"
    return CorpusError(
        f"downloading the dataset {repository} failed: {reason}",
        code="dataset-download-failed",
        name=repository,
    )
