"""The daemon's part of `ettin serve`: its start, its status and its end."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from ettin_cli.commands.context import Context
from ettin_cli.console import Console, size
from ettin_cli.errors import UsageError
from ettin_cli.serving import Activity, Served, end_process

DAEMON_KEEP_ALIVE = "5m"
# What one daemon reports to another process for comparison.
INTERNAL = ("identity", "options", "grace")
UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
NEVER = -1.0


def seconds_of(time: str) -> float:
    """Return a time such as 90s, 5m or 2h in seconds; -1 is never.

    Raises:
        UsageError: It is not a time.

    >>> seconds_of("5m"), seconds_of("90"), seconds_of("-1")
    (300.0, 90.0, -1.0)
    """
    if time == "-1":
        return NEVER
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", time.strip())
    if not found or not float(found[1]):
        raise UsageError(f"{time!r} is not a time", hint="90s, 5m, 2h, or -1 for never")
    return float(found[1]) * UNITS[found[2]]


class Background:
    """Where a server runs, and for how long: in this process, or in the background as the daemon.

    Args:
        grace: Seconds to finish requests at the end.
        keep_alive: As `seconds_of` reads it; None: the default.
    """

    def __init__(
        self, context: Context, grace: int, keep_alive: str | None, *, daemon: bool
    ) -> None:
        self.context, self.grace, self.daemon = context, grace, daemon
        self.keep_alive = seconds_of(keep_alive or (DAEMON_KEEP_ALIVE if daemon else "-1"))
        self.folder: Path | None = None
        self.options: list[str] = []

    def detach(self, *options: object) -> None:
        """Become the daemon, if that is asked for; the command in the foreground exits.

        Args:
            options: What the daemon is started with, to compare with one that is running.

        Raises:
            EttinError: It cannot be started.
        """
        if not self.daemon:
            return
        from ettin_cli.daemon import detached

        context = self.context
        given = (*options, self.keep_alive, context.offline, context.settings)
        self.options = [repr(one) for one in given]
        self.folder = detached(self.options, context.console)
        if self.folder is None:
            raise typer.Exit

    def run(
        self,
        served: Served,
        activity: Activity | None = None,
        answer: Callable[[], None] | None = None,
        url: str | None = None,
    ) -> None:
        """Serve until the end.

        Args:
            activity: Counts the requests.
            answer: Answers requests over HTTP until a signal; None: there are none.
            url: Where they arrive.

        Raises:
            EttinError: The daemon cannot be started.
        """
        activity = activity or Activity()
        if self.folder is None:
            assert answer
            with activity.expiring(self.keep_alive, end_process):
                answer()
            return
        from ettin_cli.daemon import Daemon

        Daemon(
            self.folder,
            self.options,
            served,
            self.context.settings,
            activity,
            keep_alive=self.keep_alive,
            grace=self.grace,
            reporter=self.context.console,
        ).run(answer, url)


def ask_daemon(console: Console, format: str, *, stop: bool) -> None:
    """Print the daemon's status, or end it; exit with 1 if none is running.

    Raises:
        EttinError: It does not end.
    """
    from ettin_cli import daemon

    if format not in ("table", "json"):
        raise UsageError(f"unsupported format {format!r}", hint="table or json")
    found = daemon.stop() if stop else daemon.status()
    if not found:
        console.notice("no daemon is running")
        raise typer.Exit(1)
    if isinstance(found, bool):
        console.notice("the daemon has ended")
    elif format == "json":
        console.json({name: value for name, value in found.items() if name not in INTERNAL})
    else:
        console.rows(["", ""], _rows(found))


def _rows(found: dict[str, Any]) -> list[list[str]]:
    models = [f"{one['name']} ({one['task']})" for one in found["models"]]
    left = found["keep_alive"]
    rows = {
        "process": str(found["pid"]),
        "version": found["version"],
        "uptime": f"{found['uptime']:,.0f} s",
        "models": ", ".join(models) or "none",
        "memory": size(found["memory"]),
        "requests": f"{found['requests']:,}",
        "texts": f"{found['computed']:,} computed, {found['queued']:,} queued",
        "ends after": f"{left:,.0f} s without requests" if left >= 0 else "never",
        "folder": found["folder"],
        "url": found["url"] or "none",
    }
    return [list(row) for row in rows.items()]
