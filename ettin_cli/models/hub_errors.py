"""What went wrong at the hub -> the error of a model or dataset that could not be downloaded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ettin_cli.errors import CorpusError, EttinError, ModelError
from ettin_cli.models.hub_problems import HubProblem, Trouble


@dataclass(frozen=True, slots=True)
class HubModel:
    """A model of the hub.

    Args:
        name: As it was asked for, such as an alias.
        revision: A commit; None: the newest.
    """

    name: str
    hub_id: str
    revision: str | None

    @property
    def title(self) -> str:
        """What messages call it."""
        return self.hub_id


@dataclass(frozen=True, slots=True)
class HubDataset:
    """A dataset of the hub.

    Args:
        revision: A commit; None: the newest.
    """

    hub_id: str
    revision: str | None

    @property
    def name(self) -> str:
        """As it was asked for."""
        return self.hub_id

    @property
    def title(self) -> str:
        """What messages call it."""
        return f"the dataset {self.hub_id}"


def refused(wanted: HubModel | HubDataset, problem: HubProblem) -> EttinError:
    """Return the error of a model or dataset of which nothing was downloaded."""
    reasons = {
        Trouble.UNREACHABLE: f"the hub cannot be reached ({problem.text})",
        Trouble.OTHER: f"cannot be downloaded ({problem.text})",
    }
    why = reasons.get(problem.trouble, problem.text)
    return _error(wanted, problem, f"{_part(wanted, problem)} is not on this machine and {why}")


def failed(wanted: HubModel | HubDataset, problem: HubProblem) -> EttinError:
    """Return the error of a download that was begun."""
    if problem.trouble is Trouble.UNWRITABLE:
        return unwritable(wanted, problem.reason + _for_file(wanted, problem))
    if problem.trouble is Trouble.UNREACHABLE:
        problem = replace(problem, trouble=Trouble.OTHER)
    text = f"downloading {_part(wanted, problem)} failed: {problem.text}"
    return _error(wanted, problem, text)


def unwritable(wanted: HubModel | HubDataset, why: str) -> EttinError:
    """Return the error of a cache that does not take a model or dataset."""
    from huggingface_hub import constants

    cache = constants.HF_HUB_CACHE
    problem = f"cannot write the cache of huggingface_hub, {cache}: {why}"
    name, path = wanted.name, Path(cache)
    if isinstance(wanted, HubModel):
        return ModelError(problem, code="cache-unwritable", name=name, path=path)
    return CorpusError(problem, code="cache-unwritable", name=name, path=path)


def _part(wanted: HubModel | HubDataset, problem: HubProblem) -> str:
    """Name what is downloaded: of a dataset, the file."""
    if problem.file is None or isinstance(wanted, HubModel):
        return wanted.title
    return f"{problem.file} of {wanted.title}"


def _for_file(wanted: HubModel | HubDataset, problem: HubProblem) -> str:
    named = problem.file is not None and isinstance(wanted, HubDataset)
    return f" (for {problem.file})" if named else ""


def _error(wanted: HubModel | HubDataset, problem: HubProblem, text: str) -> EttinError:
    from huggingface_hub import constants

    hub_id, title, reason = wanted.hub_id, wanted.title, problem.reason
    kind, folder = ("model", "") if isinstance(wanted, HubModel) else ("dataset", "datasets/")
    # Refusals that are about the repository, whether or not its download was begun.
    texts = {
        Trouble.GATED: f"{title} is gated, and {reason}",
        Trouble.MISSING: f"the hub has no {kind} {hub_id}" + (f", {reason}" if reason else ""),
        Trouble.NO_REVISION: f"the hub has no revision {wanted.revision} of {title}",
        Trouble.DENIED: f"the hub denies access to {title}: {reason}",
    }
    if problem.trouble in texts:
        text = texts[problem.trouble] + _for_file(wanted, problem)
    page = f"{constants.ENDPOINT}/{folder}{hub_id}"
    if isinstance(wanted, HubModel):
        return ModelError(
            text,
            code={
                Trouble.GATED: "model-gated",
                Trouble.MISSING: "unknown-model",
                Trouble.NO_REVISION: "revision-not-found",
                Trouble.DENIED: "model-denied",
                Trouble.TOKEN_REJECTED: "token-rejected",
                Trouble.BUSY: "hub-busy",
                Trouble.BROKEN: "hub-failed",
                Trouble.UNREACHABLE: "model-unavailable",
                Trouble.UNWRITABLE: "cache-unwritable",
                Trouble.OTHER: "download-failed",
            }[problem.trouble],
            name=wanted.name,
            page=page,
            retry_s=problem.retry_s,
        )
    return CorpusError(
        text,
        code={
            Trouble.GATED: "collection-gated",
            Trouble.MISSING: "collection-gone",
            Trouble.NO_REVISION: "revision-not-found",
            Trouble.DENIED: "collection-denied",
            Trouble.TOKEN_REJECTED: "token-rejected",
            Trouble.BUSY: "hub-busy",
            Trouble.BROKEN: "hub-failed",
            Trouble.UNREACHABLE: "collection-unavailable",
            Trouble.UNWRITABLE: "cache-unwritable",
            Trouble.OTHER: "dataset-download-failed",
        }[problem.trouble],
        name=wanted.name,
        page=page,
        retry_s=problem.retry_s,
    )
