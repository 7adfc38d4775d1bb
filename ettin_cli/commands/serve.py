"""`ettin serve`: rerank and embed for other programs, over HTTP."""

import os
import re
import webbrowser
from functools import partial
from hashlib import sha256
from pathlib import Path
from threading import Thread
from typing import Annotated, TypeVar
from urllib.parse import quote

import typer

from ettin_cli.commands import options
from ettin_cli.commands.context import Context, shared
from ettin_cli.commands.daemon import Background, ask_daemon
from ettin_cli.errors import CorpusError, IndexNotFoundError, UsageError
from ettin_cli.index import find_index, index_name, read_manifest
from ettin_cli.searching import Models
from ettin_cli.serving import (
    LOCALHOST,
    SCALES,
    TOKEN,
    Access,
    Address,
    Application,
    Limits,
    Policy,
    ScheduledModels,
    Served,
    ServedEmbedder,
    ServedIndex,
    ServedReranker,
    Watch,
    listening,
    require_serve,
    require_watch,
    serve as run,
    token_of,
)
from ettin_cli.settings import (
    AUTO,
    EMBEDDERS,
    ETTIN_MODELS,
    MIB,
    TRUNCATE,
    cache_folder,
)

PORT = 7480
Model = TypeVar("Model", ServedReranker, ServedEmbedder)


@shared("max_length")
def serve(
    reranker: Annotated[
        list[str] | None,
        typer.Option(
            "--reranker",
            "-r",
            metavar="MODEL",
            envvar="ETTIN_RERANKER",
            help="auto, 17m, 32m, 68m, 150m, 400m, 1b, embedded, a hub id, a folder or none; "
            "repeat for several, the first is the default.",
        ),
    ] = None,
    embedder: Annotated[
        list[str] | None,
        typer.Option(
            "--embedder",
            metavar="MODEL",
            help="An embedder from ettin models, a hub id or a folder; repeat for several.",
        ),
    ] = None,
    index: Annotated[
        list[str] | None,
        typer.Option(
            "--index",
            "-i",
            metavar="INDEX",
            envvar="ETTIN_INDEX",
            help="An index to search; repeat for several, the first is the default. Without it, "
            ".ettin here or in a parent folder, if there is one; none serves no index.",
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="The address to listen on.")
    ] = LOCALHOST[0],
    port: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            max=65535,
            help="The port; 0 takes any free one. Default: 7480, or none with --daemon.",
            show_default=False,
        ),
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            envvar="ETTIN_API_KEY",
            help="What clients must send as Authorization: Bearer KEY, or @FILE.",
        ),
    ] = None,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Update the indexes when files of their sources change."),
    ] = False,
    no_token: Annotated[
        bool,
        typer.Option("--no-token", help="Let every user of this machine read the indexes."),
    ] = False,
    editor_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Link files in the search page to an editor: an address with path and line in "
            "braces.",
        ),
    ] = None,
    open_page: Annotated[
        bool, typer.Option("--open", help="Open the search page in the browser.")
    ] = False,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Listen on other addresses without a key.")
    ] = False,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Another name by which clients reach the server."),
    ] = None,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(metavar="ORIGIN", help="Let scripts of these pages send requests."),
    ] = None,
    scores: Annotated[
        str,
        typer.Option(
            metavar="SCALE",
            help="sigmoid, between 0 and 1; raw, the model's own scores; probability, by the "
            "calibration of an index; or auto: probability if there is one, else sigmoid.",
        ),
    ] = AUTO,
    long: options.Long = TRUNCATE,
    strict_models: Annotated[
        bool,
        typer.Option("--strict-models", help="Refuse requests for models that are not served."),
    ] = False,
    max_documents: Annotated[
        int, typer.Option(metavar="N", min=1, help="Documents in a request.")
    ] = 10_000,
    max_body: Annotated[
        int, typer.Option(metavar="MIB", min=1, help="Size of a request, in MiB.")
    ] = 32,
    max_wait: Annotated[
        float,
        typer.Option(metavar="S", min=1, help="Refuse requests behind so many seconds of work."),
    ] = 120.0,
    timeout: Annotated[
        float, typer.Option(metavar="S", min=1, help="Seconds that a request may take.")
    ] = 300.0,
    grace: Annotated[
        int, typer.Option(metavar="S", min=0, help="Seconds to finish requests at the end.")
    ] = 10,
    daemon: Annotated[
        bool,
        typer.Option(
            "--daemon",
            help="Run in the background, so that ettin search, rerank and score start faster.",
        ),
    ] = False,
    keep_alive: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Exit after this time without requests, such as 90s, 5m or 2h; -1 never exits. "
            "Default: 5m with --daemon, else -1.",
        ),
    ] = None,
    status: Annotated[
        bool, typer.Option("--status", help="Show whether a daemon is running, and exit.")
    ] = False,
    stop: Annotated[bool, typer.Option("--stop", help="Stop the daemon, and exit.")] = False,
    format: Annotated[
        str,
        typer.Option("--format", "-f", metavar="FORMAT", help="Format of --status: table or json."),
    ] = "table",
    *,
    context: Context,
) -> None:
    """Rerank, embed and search for other programs, over HTTP.

    The server speaks the APIs of Cohere, Jina, Voyage, vLLM, infinity, llama.cpp, Mixedbread and
    text-embeddings-inference for reranking, and that of OpenAI for embeddings. Requests share the
    models fairly: a short one passes a long one, and a score does not depend on other requests.

    It also searches indexes: at /v1/search, for agents at /mcp, and in the browser on a search
    page, whose link it prints. What reads an index needs a token.

    It listens on this machine only. Ctrl-C, or SIGTERM, finishes the requests that have begun.

    With --daemon it runs in the background and keeps the models loaded. ettin search, rerank and
    score use it if it is running, and their output is the same. ETTIN_DAEMON=never turns that off,
    and ETTIN_DAEMON=always starts a daemon if none is running.

    Examples:
      ettin serve -r 32m
      ettin serve -r 32m -r 150m --embedder minilm
      ettin serve --daemon -r 32m --keep-alive 1h
    """
    if status or stop:
        ask_daemon(context.console, format, stop=stop)
        return
    background = Background(context, grace, keep_alive, daemon=daemon)
    _require_packages(serves=port is not None or not daemon, watch=watch)
    if scores not in SCALES:
        raise UsageError(f"unknown scale {scores!r}", hint="auto, sigmoid, raw or probability")
    editor = editor_address(editor_url) if editor_url else ""
    if open_page and index == ["none"]:
        raise UsageError("--open shows the search page, which needs an index", hint="-i INDEX")
    key = _key(api_key)
    _require_key(host, key, insecure=insecure)
    named = reranker or ([] if embedder else [AUTO])
    folders = _folders(index)
    background.detach(
        *(list(map(_place, names)) for names in (named, embedder or ())),
        *([str(folder.resolve()) for folder in folders], host, port, watch, scores, long),
        *(key and sha256(key.encode()).hexdigest(), no_token, insecure, editor),
        *(allow_host or (), cors_origin or (), strict_models),
        *(max_documents, max_body, max_wait, timeout, grace),
    )
    models = context.session.models
    rerankers = _rerankers(named, models, long)
    indexes = _indexes(folders, ScheduledModels(models, rerankers.values()), long)
    if not indexes and watch:
        raise UsageError("--watch needs an index", hint="-i INDEX")
    served = Served(
        rerankers,
        _embedders(embedder or [], models),
        indexes,
        scale=scores,
        limits=Limits(max_documents, max_wait, timeout),
        strict=strict_models,
    )
    if port is None and daemon:
        background.run(served)
        return
    address = Address(host, PORT if port is None else port, grace)
    sockets = listening(address)
    needs_token = bool(indexes) and not no_token
    access = Access(key or token_of(cache_folder())) if key or needs_token else None
    policy = Policy(
        hosts=[name.lower() for name in (host, *(allow_host or ()))],
        origins=cors_origin or (),
        access=access,
        everything=key is not None,
        any_address=host in ("0.0.0.0", "::"),
        addresses=[one.getsockname()[0].partition("%")[0] for one in sockets],
        max_body=max_body * MIB,
    )
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{sockets[0].getsockname()[1]}"
    context.console.notice(f"serving on {url}")
    if not indexes and index != ["none"]:
        context.console.notice("no index is served: there is no .ettin here")
    if indexes:
        page = f"{url}/?token={access.code}" if access else f"{url}/"
        context.console.notice(f"search page: {page}{' (once)' if access else ''}")
        if open_page:
            # It connects when the server answers.
            Thread(target=webbrowser.open, args=(page,), daemon=True).start()
    if needs_token and not key:
        context.console.notice(f"token of the indexes: {cache_folder() / TOKEN}")
    watching = partial(
        Watch,
        settings=context.settings,
        offline=context.offline,
        reporter=context.console,
    )
    application = Application(
        served, context.console, context.console.summary, watching if watch else None, editor
    )
    answer = partial(run, application, policy, sockets, address, context.console)
    background.run(served, application.activity, answer, url)


def _require_packages(*, serves: bool, watch: bool) -> None:
    if watch and not serves:
        raise UsageError("--watch needs --port with --daemon", hint=f"--port {PORT}")
    if serves:
        require_serve()
    if watch:
        require_watch()


def _require_key(host: str, key: str | None, *, insecure: bool) -> None:
    if host not in (*LOCALHOST, "localhost") and key is None and not insecure:
        raise UsageError(
            f"anybody who reaches {host} could use the server",
            hint="--api-key KEY, or --insecure to allow it",
        )


def _place(name: str) -> str:
    """Return the name of a model; of one in a folder, the folder from any working directory."""
    path = Path(name)
    return str(path.resolve()) if path.is_dir() else name


def _folders(names: list[str] | None) -> list[Path]:
    """Return the folders of indexes; without names that of the default index, if there is one."""
    if "none" in (names or ()):
        if names != ["none"]:
            raise UsageError("-i none is given with other indexes", hint="leave out one of them")
        return []
    if names:
        return list(map(Path, names))
    try:
        return [find_index(None)]
    except IndexNotFoundError:
        return []


def _indexes(folders: list[Path], models: ScheduledModels, long: str) -> dict[str, ServedIndex]:
    """Return the indexes by name."""
    served: dict[str, ServedIndex] = {}
    for folder in folders:
        read_manifest(folder)
        name = usual = index_name(folder)
        while name in served:
            name = f"{usual}-{len(served) + 1}"
        served[name] = ServedIndex(name, folder, models, long)
    return served


def editor_address(address: str) -> str:
    """Return an editor's address with the working directory before its `{path}`.

    Raises:
        UsageError: It has no `{path}`, or is not the address of a program.
    """
    scheme = re.match(r"([a-z][a-z0-9+.-]*):", address)
    if "{path}" not in address or not scheme or scheme[1] in ("javascript", "data", "blob"):
        raise UsageError(
            f"--editor-url {address!r} is not an address with {{path}}",
            hint='--editor-url "vscode://file/{path}:{line}"',
        )
    here = quote(os.getcwd().replace(os.sep, "/").rstrip("/") + "/")  # noqa: PTH109
    return address.replace("{path}", f"{here}{{path}}")


def _rerankers(names: list[str], models: Models, long: str) -> dict[str, ServedReranker]:
    """Return the rerankers by each of their names."""
    aliases = {model.hub_id: alias for alias, model in ETTIN_MODELS.items()}
    served: dict[str, ServedReranker] = {}
    for name in names:
        if name != "none":
            resolved = models.find_reranker(name)
            model = ServedReranker(models, resolved, long)
            _add(served, model, name, resolved.name, aliases.get(resolved.name))
    return served


def _embedders(names: list[str], models: Models) -> dict[str, ServedEmbedder]:
    """Return the embedders by each of their names."""
    aliases = {model.hub_id: alias for alias, model in EMBEDDERS.items()}
    served: dict[str, ServedEmbedder] = {}
    for name in names:
        files = models.find_embedder(name)
        model = ServedEmbedder(files, partial(models.embedder, files))
        _add(served, model, name, files.name, aliases.get(files.name))
    return served


def _add(served: dict[str, Model], model: Model, *names: str | None) -> None:
    if names[1] in served:
        raise UsageError(f"{names[1]} is given twice", hint="leave out one of them")
    served |= {name: model for name in names if name and name != AUTO}


def _key(given: str | None) -> str | None:
    """Return the API key, which may be in a file."""
    if given is None:
        return None
    key, where = given.strip(), "--api-key"
    if given.startswith("@"):
        where = given[1:]
        try:
            key = Path(where).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise CorpusError(f"cannot read the API key in {where}: {error}") from error
    if not key or not key.isascii():
        raise UsageError(f"the API key of {where} is {'not ASCII' if key else 'empty'}")
    return key
