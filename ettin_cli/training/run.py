"""A training run: base, examples and recipe -> a reranker in a folder."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass

from ettin_cli.models import ModelFiles, weights_hash
from ettin_cli.models.engines import EngineSettings
from ettin_cli.models.rerankers import reranker_of
from ettin_cli.records import Reporter
from ettin_cli.settings import CHECKPOINT_MINUTES
from ettin_cli.training.card import model_card
from ettin_cli.training.folder import ModelFolder
from ettin_cli.training.loop import Loop
from ettin_cli.training.processes import ALONE, Processes
from ettin_cli.training.progress import Measure, Progress
from ettin_cli.training.recipe import Recipe, check_recipe, completed
from ettin_cli.training.student import Student
from ettin_cli.training.windows import TrainingData


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """What to train, from which base, and how.

    Args:
        base: A cross-encoder, which keeps its head, or another encoder, which gets a new head of
            Ettin's shape.
        settings: Device, dtype, threads and token limit; the recipe sets the rows per step.
        measure: Selects the best weights; None keeps the last.
        license: The licence of the model, for its card.
    """

    base: ModelFiles
    data: TrainingData
    recipe: Recipe
    settings: EngineSettings
    measure: Measure | None = None
    checkpoint_minutes: float = CHECKPOINT_MINUTES
    license: str | None = None


@dataclass(frozen=True, slots=True)
class Trained:
    """The result of a run.

    Args:
        recipe: The completed recipe.
        progress: The steps, seconds and losses.
        parameters: Weights of the model.
        rejected: Rows of the data that could not be read.
    """

    recipe: Recipe
    progress: Progress
    parameters: int
    rejected: int = 0


def train(
    request: TrainRequest,
    folder: ModelFolder,
    reporter: Reporter,
    processes: Processes = ALONE,
) -> Trained:
    """Train a reranker, or resume training, and write it to its folder.

    In a distributed run every process calls this, and the main one writes.

    Raises:
        InvalidArgumentError: The recipe is invalid.
        ModelError: The base cannot be loaded, the loss is not finite, or memory is too small.
        OutputError: The folder cannot be written, or its unfinished run was another.
    """
    check_recipe(request.recipe)
    recipe = request.recipe
    student = Student(request.base, request.settings, reporter, seed=recipe.seed, lora=recipe.lora)
    if student.new_head and (ranks := reranker_of(request.base).ranks_by):
        reporter.notice(
            f"{request.base.name} ranks by {ranks}, which a cross-encoder cannot use: the student "
            "is its encoder with a new head of random weights"
        )
    recipe = completed(recipe, student.parameters, len(request.data))
    with ExitStack() as held:

        def hold() -> None:
            held.enter_context(folder)

        processes.on_main(hold)
        loop = Loop(
            student,
            request.data,
            recipe,
            folder,
            _facts(request, recipe, student),
            measure=request.measure,
            checkpoint_s=request.checkpoint_minutes * 60,
            reporter=reporter,
            processes=processes,
        )
        reporter.notice(_plan(loop))
        progress = loop.run()
        processes.on_main(lambda: _write(request, folder, loop))
    rejected = request.data.rejected + progress.rejected
    return Trained(recipe, progress, student.parameters, rejected)


def _write(request: TrainRequest, folder: ModelFolder, loop: Loop) -> None:
    """Write the model and its card, and move them into place."""
    student = loop.student
    if request.measure:
        loop.load(folder.best())
    shutil.rmtree(folder.draft, ignore_errors=True)
    student.save(folder.draft)
    card = model_card(
        name=folder.target.name,
        base=request.base.hub_id,
        data=request.data,
        recipe=loop.recipe,
        progress=loop.progress,
        parameters=student.parameters,
        max_tokens=student.max_tokens,
        new_head=student.new_head,
        measure=request.measure,
        license=request.license,
    )
    (folder.draft / "README.md").write_text(card, encoding="utf-8", newline="\n")
    folder.finish()


def _plan(loop: Loop) -> str:
    """Return a one-line summary of the run."""
    student, recipe = loop.student, loop.recipe
    what = sum(weight.numel() for weight in loop.weights)
    length = f"{loop.total:,} steps" if loop.total else f"{recipe.hours:g} hours"
    if loop.total and recipe.hours:
        length += f" or {recipe.hours:g} hours"
    size = loop.processes.size
    shared = f" shared by {size} processes" if size > 1 else ""
    return (
        f"training {what:,} weights{', including a new head,' * student.new_head} on "
        f"{len(loop.data):,} examples of up to {student.max_tokens:,} tokens: {length} of "
        f"{recipe.batch_size:,} rows{shared}, learning rate {recipe.learning_rate:g}"
    )


def _facts(request: TrainRequest, recipe: Recipe, student: Student) -> Mapping[str, object]:
    """Return the values that determine the weights, to check a resumed run, by option name."""
    values = asdict(recipe)
    options = {"--recipe": values.pop("name")}
    options |= {f"--{name.replace('_', '-')}": value for name, value in values.items()}
    return {
        "data": f"{len(request.data):,} examples with hash {request.data.digest}",
        "base": f"{request.base.name} with hash {weights_hash(request.base.folder)}",
        **options,
        "--max-length": student.max_tokens,
        "--eval": request.measure and request.measure.description,
        "--device": student.placement.device.type,
        "--dtype": "bf16" if student.half else "fp32",
    }
