"""`ettin models`: list, show and download models."""

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from ettin_cli.benchmark import measured_speed
from ettin_cli.commands.context import Color, Offline, make_console
from ettin_cli.commands.help import PlainCommand, PlainGroup
from ettin_cli.commands.hints import hint_of
from ettin_cli.console import Console, size
from ettin_cli.errors import EttinError, ModelError, UsageError
from ettin_cli.models import (
    AUTO,
    EMBEDDED,
    cached_folder,
    embedded_folder,
    find_embedder,
    find_model,
    forget_outage,
    hub_name,
)
from ettin_cli.models.engines import no_sign_of_gpu
from ettin_cli.models.rerankers import ABOUT, find_reranker, reranker_plugin, reranker_plugins
from ettin_cli.settings import (
    EMBEDDERS,
    ETTIN_MODELS,
    EmbedderModel,
    EttinModel,
    ettin_model,
)
from ettin_cli.storage import folder_size

FLOAT32_BYTES = 4
MINILM_BYTES = EMBEDDERS["minilm"].parameters * FLOAT32_BYTES

app = typer.Typer(cls=PlainGroup, add_completion=False, rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def models(context: typer.Context) -> None:
    """List, show and download models.

    Without COMMAND, the models are listed.

    Examples:
      ettin models
      ettin models show 32m
      ettin models pull 17m 32m          # for offline use
    """
    if context.invoked_subcommand is None:
        list_models()


@app.command("list", cls=PlainCommand)
def list_models(color: Color = "auto") -> None:
    """List models with their quality and speed, and which are on disk.

    nDCG@10 is the mean over MTEB(eng, v2) retrieval: for a reranker with the top 100 reranked, for
    an embedder without reranking. pairs/s was measured on this machine by ettin bench, else it is
    published with the release, for the device in the column on. An embedder with custom code
    needs --trust-remote-code.

    Example:
      ettin models list
    """
    console = make_console(color)
    rows = [_reranker_row(model) for model in ETTIN_MODELS.values()]
    rows.append([EMBEDDED, "built-in", "23M", "256", "", *_here(EMBEDDED), *_speed(EMBEDDED)])
    plugins, notices = reranker_plugins()
    rows += [[name, plugin.package, *[""] * 4, "yes", "", ""] for name, plugin in plugins]
    headers = ["-r", "kind", "params", "tokens", "nDCG@10", "size", "disk", "pairs/s", "on"]
    console.rows(headers, rows, right="params tokens nDCG@10 size pairs/s")
    console.line("")
    headers = ["embedder", "params", "dims", "tokens", "nDCG@10", "disk", "code", "licence"]
    embedders = [_embedder_row(model) for model in EMBEDDERS.values()]
    console.rows(headers, embedders, right="params dims tokens nDCG@10")
    for notice in notices:
        console.notice(notice)
    console.notice(
        "nDCG@10 and speeds on other machines are published; for details: ettin models show NAME; "
        "to measure: ettin bench -r NAME; --embedder auto is minilm"
    )


@app.command("show", cls=PlainCommand)
def show(
    name: Annotated[str, typer.Argument(help="A name from the list, or a hub id.")],
    color: Color = "auto",
) -> None:
    """Show a model's size, limits, quality, licence and folder.

    Examples:
      ettin models show 32m
      ettin models show embedded
      ettin models show embeddinggemma
    """
    console = make_console(color)
    if name == EMBEDDED:
        console.line(ABOUT)
        console.line("")
        console.rows(["", ""], [*_measured(EMBEDDED), ["on this machine", _place(EMBEDDED)]])
        return
    if plugin := reranker_plugin(name):
        console.rows(["", ""], [["reranker", name], ["added by", plugin.package]])
        return
    hub_id, revision = hub_name(name)
    model = ettin_model(hub_id)
    embedder = next((m for m in EMBEDDERS.values() if m.hub_id == hub_id), None)
    if model is None and embedder is None and cached_folder(name) is None:
        raise ModelError(f"unknown model {name!r}", hint="ettin models")
    rows = [["model", hub_id], ["page", f"https://huggingface.co/{hub_id}"]]
    if revision:
        rows.append(["revision", revision])
    if model:
        rows += _published(model)
    elif embedder:
        rows += _published_embedder(embedder)
    console.rows(["", ""], [*rows, *_measured(hub_id), ["on this machine", _place(name)]])


@app.command("pull", cls=PlainCommand)
def pull(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME", help="Names from the list, or hub ids.")
    ],
    offline: Offline = False,
) -> None:
    """Download models for offline use.

    They go to the cache of huggingface_hub, which HF_HOME sets. Ettin rerankers are downloaded at
    a pinned revision.

    Examples:
      ettin models pull 32m
      ettin models pull 17m cross-encoder/ms-marco-MiniLM-L6-v2
    """
    console = Console()
    forget_outage()
    failed: list[EttinError] = []
    for name in names:
        if name == "none":
            raise UsageError("none is not a model")
        try:
            place = _fetched(name, offline, console)
        except EttinError as error:
            failed.append(error)
        else:
            console.line(f"{name}  {place}")
    for failure in failed[:-1]:
        console.error(failure.problem)
    if failed:
        raise failed[-1]


def _fetched(name: str, offline: bool, console: Console) -> str:
    """Download a model if needed, and return its folder, or the package that provides it."""
    if plugin := reranker_plugin(name):
        find_reranker(name, offline=offline, reporter=console)
        return plugin.package
    find = find_embedder if name in AUTO else find_model
    return str(find(name, offline=offline, reporter=console).folder)


def _reranker_row(model: EttinModel) -> list[str]:
    return [
        model.alias,
        "Ettin",
        f"{model.parameters / 1e6:,.0f}M",
        f"{model.max_tokens:,}",
        f"{model.ndcg10:.4f}",
        *_here(model.alias, expected=model.parameters * FLOAT32_BYTES),
        *_speed(model.hub_id),
    ]


def _speed(name: str) -> tuple[str, str]:
    """Return a model's pairs per second and the device: measured here, else published, if known."""
    if speed := measured_speed(name):
        return _rate(speed.pairs_per_s), "this machine"
    if model := ettin_model(name):
        published = model.speeds[0 if no_sign_of_gpu() else 1]
        return _rate(published.pairs_per_s), published.device
    return "", ""


def _rate(pairs_per_s: float) -> str:
    return f"{pairs_per_s:,.{1 if pairs_per_s < 10 else 0}f}"


def _embedder_row(model: EmbedderModel) -> list[str]:
    return [
        model.alias,
        f"{model.parameters / 1e6:,.0f}M",
        f"{model.dimension}",
        f"{model.max_tokens:,}" if model.max_tokens else "all",
        f"{model.ndcg10:.4f}" if model.ndcg10 else "",
        "yes" if _folder(model.alias) else "no",
        "own" if model.own_code else "",
        model.licence,
    ]


def _published_embedder(model: EmbedderModel) -> list[list[str]]:
    rows = [["parameters", f"{model.parameters:,}"], ["dimensions", f"{model.dimension}"]]
    if model.matryoshka:
        trained = ", ".join(map(str, model.matryoshka))
        rows.append(["--dimensions", f"trained for {trained}"])
    rows.append(["tokens", f"{model.max_tokens:,}" if model.max_tokens else "no limit"])
    for name, prompt in (("query", model.query_prompt), ("document", model.document_prompt)):
        rows += [[f"{name} prompt", f'"{prompt}"']] if prompt else []
    if model.ndcg10:
        source = "published: MTEB(eng, v2) retrieval, not reranked"
        rows.append(["nDCG@10", f"{model.ndcg10:.4f}, {source}"])
    if model.own_code:
        rows.append(["code", "custom, needs --trust-remote-code"])
    return [*rows, ["licence", model.licence]]


def _published(model: EttinModel) -> list[list[str]]:
    return [
        ["parameters", f"{model.parameters:,}"],
        ["tokens", f"{model.max_tokens:,}"],
        [
            "nDCG@10",
            f"{model.ndcg10:.4f}, published: MTEB(eng, v2) retrieval, top 100 of six embedders",
        ],
        ["", f"{model.nanobeir:.4f}, published: NanoBEIR, top 100 of BM25"],
        *(
            ["" if at else "pairs/s", f"{_rate(speed.pairs_per_s)}, published: {speed}"]
            for at, speed in enumerate(model.speeds)
        ),
        ["licence", "Apache-2.0"],
    ]


def _measured(name: str) -> list[list[str]]:
    speed = measured_speed(name)
    if speed is None:
        return []
    how = f"{speed.backend} on {speed.device}, {speed.tokens:.0f} tokens a pair"
    return [["measured", f"{_rate(speed.pairs_per_s)} pairs/s: {how}"]]


def _here(name: str, expected: int = MINILM_BYTES) -> tuple[str, str]:
    """Return a model's size on disk, expected if it is absent, and whether it is there."""
    try:
        folder = _folder(name)
    except EttinError:
        folder = None
    return size(folder_size(folder) if folder else expected), "yes" if folder else "no"


def _folder(name: str) -> Path | None:
    """Return the folder of a model on this machine, if it is there."""
    if name in AUTO:
        with suppress(EttinError):
            return embedded_folder()
    return embedded_folder() if name == EMBEDDED else cached_folder(name)


def _place(name: str) -> str:
    try:
        folder = _folder(name)
    except EttinError as error:
        hint = hint_of(error)
        return f"no: {error.problem}" + (f" ({hint})" if hint else "")
    return str(folder) if folder else f"no: ettin models pull {name}"
