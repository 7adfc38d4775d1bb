"""The ten options that most commands share."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ettin_cli.client import in_daemon
from ettin_cli.console import Console
from ettin_cli.errors import UsageError
from ettin_cli.models.engines import EngineSettings

if TYPE_CHECKING:
    from ettin_cli.api import Session

COLORS = ("auto", "always", "never")

Color = Annotated[str, typer.Option(metavar="WHEN", help="auto, always or never.")]
Offline = Annotated[
    bool, typer.Option("--offline", envvar="ETTIN_OFFLINE", help="Never use the network.")
]


@dataclass(frozen=True)
class Context:
    """The console and the session of a command, with the settings from its options."""

    console: Console
    settings: EngineSettings
    offline: bool

    def on_every_gpu(self, *, here: bool) -> "Context":
        """Return the context of a command whose models all GPUs of a kind share.

        A daemon's models are shared by many commands, and stay on one.

        Args:
            here: Whether the models run on this machine, not on a cluster.
        """
        return replace(self, settings=replace(self.settings, every_gpu=here and not in_daemon()))

    @cached_property
    def session(self) -> "Session":
        """The session, which reports to the console."""
        from ettin_cli.api import Session

        session = Session(self.settings, offline=self.offline, reporter=self.console)
        if in_daemon():
            from ettin_cli.daemon import WarmModels

            session.models = WarmModels(session.models)
        return session


def make_console(color: str, quiet: bool = False, verbose: bool = False) -> Console:
    """Return a console with these options.

    Raises:
        UsageError: The colour mode is unknown.
    """
    if color not in COLORS:
        raise UsageError(f"unknown colour mode {color!r}", hint="auto, always or never")
    return Console(color=color, quiet=quiet, verbose=verbose)


def rows_of(batch_size: str) -> int | None:
    """Return a batch size as a number; None for `auto`.

    Raises:
        UsageError: It is neither auto nor a number above 0.
    """
    if batch_size == "auto":
        return None
    if not batch_size.isdigit() or not int(batch_size):
        raise UsageError(f"batch size {batch_size!r} is neither auto nor a number above 0")
    return int(batch_size)


def _context(
    device: Annotated[
        str,
        typer.Option(
            metavar="DEVICE", envvar="ETTIN_DEVICE", help="auto, cpu, cuda, cuda:N or mps."
        ),
    ] = "auto",
    dtype: Annotated[
        str,
        typer.Option(metavar="DTYPE", envvar="ETTIN_DTYPE", help="auto, fp32, bf16, fp16 or fast."),
    ] = "auto",
    batch_size: Annotated[
        str, typer.Option(metavar="N", help="Maximum texts per batch, or auto.")
    ] = "auto",
    max_length: Annotated[
        int | None,
        typer.Option(metavar="TOKENS", min=8, help="A token limit below the model's own."),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(metavar="N", envvar="ETTIN_THREADS", min=1, help="CPU threads.")
    ] = None,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run custom code shipped with a model.")
    ] = False,
    offline: Offline = False,
    color: Color = "auto",
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Report what was chosen and why.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Hide progress and summaries.")
    ] = False,
) -> Context:
    console = make_console(color, quiet, verbose)
    settings = EngineSettings(
        device, dtype, rows_of(batch_size), max_length, threads, trust_remote_code
    )
    return Context(console, settings, offline)


SHARED = inspect.signature(_context).parameters


def shared(*without: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that adds the shared options to a command and passes it a `context`.

    Args:
        without: Options that the command does not take, or defines itself.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        added = {name: parameter for name, parameter in SHARED.items() if name not in without}

        def called(*arguments: Any, **options: Any) -> None:
            common = {name: options.pop(name) for name in list(options) if name in added}
            command(*arguments, context=_context(**common), **options)

        signature = inspect.signature(command)
        own = {
            name: parameter for name, parameter in signature.parameters.items() if name != "context"
        }
        keyword = {n: p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for n, p in added.items()}
        parameters = own | keyword
        called.__signature__ = signature.replace(parameters=list(parameters.values()))  # type: ignore[attr-defined]
        called.__annotations__ = {
            name: parameter.annotation for name, parameter in parameters.items()
        }
        called.__name__, called.__doc__ = command.__name__, command.__doc__
        called.__module__ = command.__module__
        return called

    return decorate
