"""The model card of a trained reranker: data, recipe, metrics and limits."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from ettin_cli.storage import Stream
from ettin_cli.training.examples import DataFile
from ettin_cli.training.progress import Measure, Progress
from ettin_cli.training.recipe import MOST_GRADIENT, WARM_UP, Recipe
from ettin_cli.training.windows import TrainingData

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def model_card(
    *,
    name: str,
    base: str,
    data: TrainingData,
    recipe: Recipe,
    progress: Progress,
    parameters: int,
    max_tokens: int,
    new_head: bool,
    measure: Measure | None,
    license: str | None,
) -> str:
    """Return a model's README.md: YAML metadata for the hub, then Markdown."""
    head = ", with Ettin's head added" if new_head else ""
    lines = [
        *_metadata(base, data, license),
        f"# {name}",
        "",
        f"A reranker of {parameters:,} parameters, trained from {base}{head}.",
        "It scores how well a text answers a query. Scores are raw logits: use them for ranking,",
        "not as probabilities.",
        "",
        *_use(name),
        "## Data",
        "",
        *_data(data, progress),
        "",
        "## Recipe",
        "",
        *(f"- {line}" for line in _recipe(recipe, progress)),
        "",
        "## Results",
        "",
        *(f"- {line}" for line in _figures(progress, measure)),
        "",
        "## Limits",
        "",
        *(f"- {line}" for line in _limits(progress, max_tokens, measure)),
    ]
    return "\n".join(lines) + "\n"


def _metadata(base: str, data: TrainingData, license: str | None) -> Iterator[str]:
    values: dict[str, object] = {
        "library_name": "sentence-transformers",
        "pipeline_tag": "text-ranking",
        "tags": ["sentence-transformers", "cross-encoder", "reranker"],
    }
    if license:
        values["license"] = license
    if _HUB_ID.fullmatch(base):
        values["base_model"] = base
    if data.datasets:
        values["datasets"] = list(data.datasets)
    yield "---"
    # Every JSON value is valid YAML.
    yield from (f"{key}: {json.dumps(value)}" for key, value in values.items())
    yield "---"


def _use(name: str) -> Iterator[str]:
    yield "```python"
    yield "from sentence_transformers import CrossEncoder"
    yield ""
    yield f"CrossEncoder({json.dumps(name)}).predict([(query, text)])"
    yield "```"
    yield ""


def _data(data: TrainingData, progress: Progress) -> Iterator[str]:
    yield "| data | pairs with a score | rows of positives and negatives | licence |"
    yield "|---|---|---|---|"
    for file in data.files:
        yield f"| {_name(file)} | {file.scored:,} | {file.listed:,} | {_licences(file)} |"
    yield ""
    of = f", a random sample of {data.available:,}" if data.available else " in total"
    yield f"{len(data):,} examples{of}."
    if rejected := data.rejected + progress.rejected:
        yield f"{rejected:,} unreadable rows were skipped."
    if data.spread.count:
        yield f"The teacher's scores: {data.spread}."


def _name(file: DataFile) -> str:
    if isinstance(file.path, str):
        return file.path
    return "rows passed to the call" if isinstance(file.path, Stream) else file.path.name


def _licences(file: DataFile) -> str:
    """Return the licences in a file's rows, with counts if they differ."""
    named: Mapping[str, int] = file.licences
    if len(named) == 1 and sum(named.values()) == file.scored + file.listed:
        return next(iter(named))
    return ", ".join(f"{licence} ({count:,})" for licence, count in named.items()) or "not stated"


def _recipe(recipe: Recipe, progress: Progress) -> Iterator[str]:
    if recipe.name:
        yield f"the recipe {recipe.name}: that of the Ettin release"
    yield f"loss: {recipe.loss or 'mse on scores, listwise on positives and negatives'}"
    yield f"{progress.step:,} steps of {recipe.batch_size:,} rows, {progress.pairs:,} pairs read"
    yield (
        f"AdamW without weight decay, learning rate {recipe.learning_rate:g}, with linear warm-up "
        f"over {WARM_UP:.0%} of the run and linear decay to 0; gradients clipped at "
        f"{MOST_GRADIENT:g}"
    )
    if recipe.lora:
        yield f"LoRA of rank {recipe.lora} on the trunk's linear layers, merged into its weights"
    yield f"seed {recipe.seed}"
    yield f"{progress.seconds / 60:,.0f} minutes"


def _figures(progress: Progress, measure: Measure | None) -> Iterator[str]:
    yield f"loss at the first step {progress.first_loss:.4g}, at the end {progress.loss:.4g}"
    if measure is None:
        yield "no metric was measured"
        return
    yield (
        f"{measure.description}: {progress.best:.4f} at step {progress.best_step:,}, "
        f"whose weights were kept; {progress.before:.4f} before training, "
        f"{measure.retrieval:.4f} by retrieval alone"
    )


def _limits(progress: Progress, max_tokens: int, measure: Measure | None) -> Iterator[str]:
    share = progress.cut / max(1, progress.pairs)
    yield f"trained on up to {max_tokens:,} tokens per pair; {share:.1%} of pairs were truncated"
    yield "scores reproduce the data and its teacher, biases included"
    if measure is not None:
        yield "the metric above selected the weights, so it is slightly optimistic"
