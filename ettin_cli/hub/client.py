"""The hub itself: asked once with a short timeout, and left alone for a while when it is away."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from ettin_cli.errors import ModelError
from ettin_cli.hub.memory import remember, remembered
from ettin_cli.records import Reporter
from ettin_cli.settings import HUB_FAILURE_REMEMBERED_S, HUB_TIMEOUT_S

# Weights come as safetensors alone: a pickle can run code when it is loaded.
FETCHED = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja", "*.py"]
LEFT_ON_HUB = ["onnx/*", "openvino/*", "*/onnx/*", "*/openvino/*"]
OUTAGE = "hub-outage.json"


def is_offline(asked: bool = False) -> bool:
    """Say whether the network must not be touched: asked for, or by the environment."""
    names = ("ETTIN_OFFLINE", "HF_HUB_OFFLINE")
    return asked or any(os.environ.get(n, "").upper() in ("1", "TRUE", "YES", "ON") for n in names)


def fetch(hub_id: str, revision: str | None, reporter: Reporter) -> Path:
    """Return the folder of a model that was just fetched into huggingface_hub's cache.

    Raises:
        ModelError: The hub cannot be reached, or does not give us this model.
    """
    if problem := known_outage() or probe(hub_id, revision):
        raise not_here(hub_id, f"the hub cannot be reached ({problem})")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HTTPError
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    reporter.notice(f"fetching {hub_id} from the hub, once")
    try:
        folder = snapshot_download(
            hub_id, revision=revision, allow_patterns=FETCHED, ignore_patterns=LEFT_ON_HUB
        )
    except (OSError, HTTPError) as error:
        raise ModelError(
            f"fetching {hub_id} failed: {_said(error)}", hint="run the same command to go on"
        ) from error
    return Path(folder)


def not_here(hub_id: str, why: str) -> ModelError:
    """Return the error of a model that is neither on this machine nor to be fetched."""
    return ModelError(
        f"{hub_id} is not on this machine, and {why}",
        hint="name 'embedded', which needs no download; or run 'ettin models pull' where there is "
        "a network, and copy its folder here or point HF_HOME to its cache",
    )


def probe(hub_id: str, revision: str | None) -> str | None:
    """Ask the hub for a model; None if it answers, else why not, which is remembered.

    Raises:
        ModelError: The hub answers that it has no such model for us.
    """
    error = _asked(hub_id, revision)
    if error is None:
        return None
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError

    if isinstance(error, HfHubHTTPError) and error.response.status_code < 500:
        raise _refusal(hub_id, error) from error
    if isinstance(error, HFValidationError):
        raise ModelError(f"{hub_id!r} is no name of a model", hint="ettin models") from error
    if not isinstance(error, (OSError, ValueError, HTTPError)):
        raise error
    problem = f"{type(error).__name__}: {_said(error)}"
    remember(OUTAGE, {"at": time.time(), "problem": problem})
    return problem


def _asked(hub_id: str, revision: str | None) -> Exception | None:
    outcome: list[Exception | None] = []

    def ask() -> None:
        try:
            from huggingface_hub import HfApi

            HfApi().model_info(hub_id, revision=revision, timeout=HUB_TIMEOUT_S)
            outcome.append(None)
        except Exception as error:
            outcome.append(error)

    # Looking up a host's name can hang far longer than any timeout of the client.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(HUB_TIMEOUT_S)
    return outcome[0] if outcome else TimeoutError(f"no answer in {HUB_TIMEOUT_S:g} s")


def _refusal(hub_id: str, error: Exception) -> ModelError:
    from huggingface_hub.errors import (
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if isinstance(error, GatedRepoError):
        return ModelError(
            f"{hub_id} is gated: the hub gives it to those who asked for access",
            hint="ask for it on the model's page, then: hf auth login",
        )
    if isinstance(error, RepositoryNotFoundError):
        return ModelError(
            f"the hub has no model {hub_id}, or it is private", hint="ettin models; hf auth login"
        )
    if isinstance(error, RevisionNotFoundError):
        return ModelError(f"the hub no longer has the pinned revision of {hub_id}")
    return ModelError(f"the hub refuses {hub_id}: {_said(error)}")


def known_outage() -> str | None:
    """Return why the hub could not be reached, if that was less than ten minutes ago."""
    known = remembered(OUTAGE)
    at, problem = known.get("at"), known.get("problem")
    if not isinstance(at, (int, float)) or not isinstance(problem, str):
        return None
    age = time.time() - at
    return f"{problem}, {age:.0f} s ago" if 0 <= age < HUB_FAILURE_REMEMBERED_S else None


def _said(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
