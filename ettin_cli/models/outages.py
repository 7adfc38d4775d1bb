"""How long the hub need not be asked again, remembered from its last failure.

Commands that fall back to another model would otherwise wait for an unreachable hub each time.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path

from ettin_cli.models.hub_problems import HubProblem, Trouble
from ettin_cli.models.remembered import recall, remember
from ettin_cli.settings import HUB_FAILURE_REMEMBERED_S

OUTAGE = "hub-outage"


def remember_outage(problem: HubProblem) -> None:
    """Remember for how long the hub need not be asked again."""
    wait = problem.retry_s
    if problem.trouble is Trouble.UNREACHABLE:
        wait = HUB_FAILURE_REMEMBERED_S
    if wait:
        facts = {"trouble": problem.trouble, "reason": problem.reason, "way": _way()}
        until = time.time() + min(wait, HUB_FAILURE_REMEMBERED_S)
        remember(OUTAGE, {**facts, "at": time.time(), "until": until})


def outage() -> HubProblem | None:
    """Return why the hub need not be asked now, from an earlier failure by the same way."""
    known = recall(OUTAGE)
    at, until, reason = (known.get(name) for name in ("at", "until", "reason"))
    if not isinstance(at, float) or not isinstance(until, float) or not isinstance(reason, str):
        return None
    now = time.time()
    if not at <= now < until or known.get("way") != _way():
        return None
    if known.get("trouble") == Trouble.UNREACHABLE:
        return HubProblem(Trouble.UNREACHABLE, f"{reason}, {now - at:.0f} s ago")
    return HubProblem(Trouble(str(known.get("trouble"))), reason, until - now)


def forget_outage() -> None:
    """Let the next download ask the hub, even if it could not be reached a short time ago."""
    remember(OUTAGE, {})


def _way() -> str:
    """Return a hash of what another answer may depend on: the endpoint, proxies, and the token."""
    from urllib.request import getproxies

    from huggingface_hub import constants

    token = Path(constants.HF_TOKEN_PATH)
    written = token.stat().st_mtime_ns if token.is_file() else None
    facts = [constants.ENDPOINT, getproxies(), os.environ.get("HF_TOKEN"), written]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
