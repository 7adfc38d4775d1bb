"""A model of the Hugging Face hub -> its folder in huggingface_hub's cache.

One request describes the model: its commit, and the size of each file. It fails within seconds
if the hub cannot be reached. Only then are the files requested.
"""

from __future__ import annotations

import math
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ettin_cli.errors import ModelError
from ettin_cli.models.hub_errors import HubModel, failed, refused, unwritable
from ettin_cli.models.hub_problems import Trouble, hub_problem
from ettin_cli.models.outages import outage, remember_outage
from ettin_cli.models.remembered import recall, remember_fact
from ettin_cli.models.transfers import MB, transfer
from ettin_cli.records import Reporter
from ettin_cli.runtime import is_quiet
from ettin_cli.settings import HUB_TIMEOUT_S
from ettin_cli.storage import replacing

# Weights must be safetensors, since loading a pickle can run code. A model's own code is
# downloaded, but runs only if trusted. The metadata describe how a ColBERT model reads texts.
FETCHED = ["*.json", "*.safetensors", "*.txt", "*.model", "*.py", "*.metadata"]
LEFT_ON_HUB = ["onnx/*", "openvino/*", "*/onnx/*", "*training*"]
DOWNLOADS = "downloads.json"
RATE_LIMITED = "Rate limited"


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of a model that are downloaded: their sizes in bytes, by path."""

    commit: str
    sizes: Mapping[str, int]


def download(model: HubModel, reporter: Reporter) -> Path:
    """Download the files of a model that are not in the cache; return the folder.

    Raises:
        ModelError: The hub cannot be reached or refuses, or the cache cannot be written.
    """
    room = _room(model)
    with hub_warnings_to(reporter):
        if problem := outage():
            raise refused(model, problem)
        try:
            listing = _listing(model)
        except Exception as error:
            problem = hub_problem(error)
            remember_outage(problem)
            raise refused(model, problem) from error
        if not listing.sizes:
            raise ModelError(f"{model.hub_id} has no files of a model", name=model.name)
        folder = _repository(model) / "snapshots" / listing.commit
        sizes = listing.sizes
        missing = {path: sizes[path] for path in sizes if not (folder / path).exists()}
        size = sum(missing.values())
        if size > room:
            raise unwritable(model, f"{model.hub_id} takes {_mb(size)}, and {_mb(room)} are free")
        remember_fact(DOWNLOADS, f"{model.hub_id}@{listing.commit}", list(listing.sizes))
        if missing:
            reporter.notice(f"downloading {model.hub_id} from the hub ({_mb(size)})")
        try:
            smallest_first = sorted(missing, key=lambda path: (missing[path], path))
            transfer(model.hub_id, listing.commit, smallest_first, size, reporter)
            if model.revision is None:
                _write_newest(model, listing.commit)
        except Exception as error:
            problem = hub_problem(error)
            # Cut off in the middle, it is resumed as soon as the user says so.
            if problem.trouble is not Trouble.UNREACHABLE:
                remember_outage(problem)
            raise failed(model, problem) from error
    return folder


def _mb(size: int) -> str:
    return f"{math.ceil(size / MB):,} MB"


def missing_files(hub_id: str, folder: Path) -> list[str] | None:
    """Return the files that a download to a folder of the cache still lacks; None: unknown."""
    wanted = recall(DOWNLOADS).get(f"{hub_id}@{folder.name}")
    if not isinstance(wanted, list):
        return None
    return [path for path in map(str, wanted) if not (folder / path).exists()]


# What the hub is asked


def _listing(model: HubModel) -> Listing:
    """Ask the hub for a model's commit and files; in a few seconds, and without trying again."""
    from huggingface_hub import HfApi
    from huggingface_hub.utils import filter_repo_objects  # type: ignore[attr-defined]

    info = promptly(
        lambda: HfApi().model_info(
            model.hub_id, revision=model.revision, timeout=HUB_TIMEOUT_S, files_metadata=True
        )
    )
    files = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    wanted = filter_repo_objects(files, allow_patterns=FETCHED, ignore_patterns=LEFT_ON_HUB)
    return Listing(info.sha, {path: files[path] for path in wanted})


def promptly(ask: Callable[[], Any]) -> Any:
    """Return what the hub answers within seconds.

    Raises:
        TimeoutError: There was no answer.
    """
    outcome: list[Any] = []

    def asking() -> None:
        try:
            outcome.append(ask())
        except Exception as error:
            outcome.append(error)

    # Name resolution can hang far longer than the client's timeout.
    thread = threading.Thread(target=asking, daemon=True)
    thread.start()
    thread.join(HUB_TIMEOUT_S + 1)
    answer = outcome[0] if outcome else TimeoutError(f"no answer in {HUB_TIMEOUT_S:g} s")
    if isinstance(answer, Exception):
        raise answer
    return answer


@contextmanager
def hub_warnings_to(reporter: Reporter) -> Iterator[None]:
    """Report what huggingface_hub would log, and send the hub no facts about this process.

    Only in a program that asked for the silence of libraries: both are settings of the process.
    """
    if not is_quiet():
        yield
        return
    from logging import Filter, LogRecord, getLogger

    from huggingface_hub import constants

    if "HF_HUB_DISABLE_TELEMETRY" not in os.environ:
        constants.HF_HUB_DISABLE_TELEMETRY = True
    reported: set[str] = set()

    class Report(Filter):
        def filter(self, record: LogRecord) -> bool:
            line = record.getMessage().partition("\n")[0]
            if line not in reported:
                reported.add(line)
                report = reporter.notice if line.startswith(RATE_LIMITED) else reporter.detail
                report(f"huggingface_hub: {line}")
            return False

    report = Report()
    handlers = list(getLogger("huggingface_hub").handlers)
    for handler in handlers:
        handler.addFilter(report)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(report)


# The cache


def _repository(model: HubModel) -> Path:
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    return Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=model.hub_id, repo_type="model")


def _room(model: HubModel) -> int:
    """Return the free bytes where the cache is.

    Raises:
        ModelError: It cannot be written.
    """
    from huggingface_hub import constants

    place = Path(constants.HF_HUB_CACHE)
    with suppress(OSError):
        while not place.exists():
            place = place.parent
    if not place.is_dir():
        raise unwritable(model, f"{place} is not a folder")
    if not os.access(place, os.W_OK | os.X_OK):
        raise unwritable(model, f"{place} is read-only")
    return shutil.disk_usage(place).free


def _write_newest(model: HubModel, commit: str) -> None:
    """Record the commit as the newest, as huggingface_hub does for a download of `main`."""
    path = _repository(model) / "refs" / "main"
    path.parent.mkdir(exist_ok=True)
    with replacing(path) as draft:
        draft.write_text(commit, encoding="utf-8")
