"""What went wrong at the hub -> the error of a model that could not be downloaded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ettin_cli.errors import ModelError
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


def refused(model: HubModel, problem: HubProblem) -> ModelError:
    """Return the error of a model of which nothing was downloaded."""
    reasons = {
        Trouble.UNREACHABLE: f"the hub cannot be reached ({problem.text})",
        Trouble.OTHER: f"cannot be downloaded ({problem.text})",
    }
    why = reasons.get(problem.trouble, problem.text)
    return _error(model, problem, f"{model.hub_id} is not on this machine and {why}")


def failed(model: HubModel, problem: HubProblem) -> ModelError:
    """Return the error of a download that was begun."""
    if problem.trouble is Trouble.UNWRITABLE:
        return unwritable(model, problem.reason)
    if problem.trouble is Trouble.UNREACHABLE:
        problem = replace(problem, trouble=Trouble.OTHER)
    return _error(model, problem, f"downloading {model.hub_id} failed: {problem.text}")


def unwritable(model: HubModel, why: str) -> ModelError:
    """Return the error of a cache that does not take a model."""
    from huggingface_hub import constants

    cache = constants.HF_HUB_CACHE
    problem = f"cannot write the cache of huggingface_hub, {cache}: {why}"
    return ModelError(problem, code="cache-unwritable", name=model.name, path=Path(cache))


def _error(model: HubModel, problem: HubProblem, text: str) -> ModelError:
    from huggingface_hub import constants

    hub_id, reason = model.hub_id, problem.reason
    # Refusals that are about the model, whether or not its download was begun.
    texts = {
        Trouble.GATED: f"{hub_id} is gated, and {reason}",
        Trouble.MISSING: f"the hub has no model {hub_id}" + (f", {reason}" if reason else ""),
        Trouble.NO_REVISION: f"the hub has no revision {model.revision} of {hub_id}",
        Trouble.DENIED: f"the hub denies access to {hub_id}: {reason}",
    }
    return ModelError(
        texts.get(problem.trouble, text),
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
        name=model.name,
        page=f"{constants.ENDPOINT}/{hub_id}",
        retry_s=problem.retry_s,
    )
