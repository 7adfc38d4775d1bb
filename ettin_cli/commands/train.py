"""`ettin train`: train a reranker from an encoder or another reranker."""

from pathlib import Path
from typing import Annotated

import typer

from ettin_cli.commands import options
from ettin_cli.commands.context import Context, rows_of, shared
from ettin_cli.console import count, duration
from ettin_cli.evaluation import METRIC
from ettin_cli.settings import CHECKPOINT_MINUTES, SEED
from ettin_cli.training import Trained, joined_processes


@shared("batch_size")
def train(
    data: Annotated[
        list[Path],
        typer.Argument(
            help="JSONL, CSV, TSV or Parquet, with rows as above; a public collection; or a "
            "dataset of the hub, as OWNER/NAME or OWNER/NAME/CONFIGURATION."
        ),
    ],
    base: Annotated[
        str,
        typer.Option(
            metavar="MODEL", help="A cross-encoder or an encoder, by name, hub id or folder."
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="MODEL", help="Folder to write.")
    ],
    rows: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Train on N rows, chosen at random in proportion to the rows of each dataset's "
            "configurations.",
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="RECIPE",
            help="ettin: as the Ettin release, however few rows there are, with --eval nanobeir "
            "after each 5% of the run.",
        ),
    ] = None,
    loss: Annotated[
        str | None,
        typer.Option(
            metavar="LOSS",
            help="mse, margin-mse, listwise or bce; by default mse for scores, else listwise.",
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Epochs; with --steps or --hours, whichever ends first."
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Maximum number of steps.")
    ] = None,
    hours: Annotated[
        float | None, typer.Option(metavar="X", help="Maximum hours of training.")
    ] = None,
    batch_size: Annotated[
        str, typer.Option(metavar="N", help="Rows per step, or auto: as in the Ettin recipe.")
    ] = "auto",
    learning_rate: Annotated[
        float | None,
        typer.Option(metavar="X", help="Peak learning rate; by default as in the Ettin recipe."),
    ] = None,
    lora: Annotated[
        int | None,
        typer.Option(metavar="RANK", min=1, help="Train a low-rank update, not all weights."),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            metavar="N", min=0, help="Random seed for data order, dropout and the new head."
        ),
    ] = SEED,
    eval: Annotated[
        Path | None,
        typer.Option(
            metavar="COLLECTION",
            help="Measure nDCG@10 during training on a BEIR folder, a public collection, as in "
            "beir/nfcorpus:dev, or nanobeir, and keep the best weights.",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Resume an unfinished run.")] = False,
    checkpoint_minutes: Annotated[
        float,
        typer.Option(metavar="X", min=0, help="Minutes between checkpoints; 0: every step."),
    ] = CHECKPOINT_MINUTES,
    license: Annotated[
        str | None, typer.Option(metavar="NAME", help="Licence of the model, for its model card.")
    ] = None,
    *,
    context: Context,
) -> None:
    """Train a reranker on teacher scores, or on positives and negatives.

    A row of DATA has a query, a document (or text) and the teacher's score (or label), as written
    by `ettin score --pairs`; or a query, its positive (one text or several) and its negatives (a
    list, or `negative`, or `negative_1`, `negative_2` and so on).

    DATA may be a public collection, as in beir/fiqa: its split train, with the negatives that
    ettin mine finds.

    A cross-encoder keeps its head. Any other base (an encoder, an embedder, a late interaction
    model, or embedded, which is all-MiniLM-L6-v2) gets a new head of Ettin's shape with random
    weights, so it ranks at random at first.

    Of a dataset, the training splits in Parquet are read, and downloaded as they are needed.

    MODEL appears once it is complete; until then MODEL.partial holds checkpoints. Matrix products
    are in bf16 on a GPU that supports it, and in fp32 on a CPU; there, --dtype fast uses bf16 if
    the processor supports it.

    Examples:
      ettin score --pairs pairs.jsonl -r 150m -o scored.jsonl
      ettin train scored.jsonl --base jhu-clsp/ettin-encoder-17m -o mine
      ettin train scored.jsonl --base 17m -o mine --hours 2 --eval BEIR-FOLDER
      ettin train beir/fiqa --base 17m -o mine --eval beir/nfcorpus:dev
      ettin train mined.jsonl --base embedded -o mine --epochs 3 --resume
      ettin train OWNER/NAME --base 17m -o mine --rows 100000 --recipe ettin
      ettin search "where are the life jackets" -r ./mine
    """
    with joined_processes() as processes:
        console = context.console
        with options.resumable("to resume, run the same command with --resume", console):
            trained = context.session.train(
                *data,
                base=base,
                output=output,
                sample=rows,
                recipe=recipe,
                loss=loss,
                epochs=epochs,
                steps=steps,
                hours=hours,
                batch_size=rows_of(batch_size),
                learning_rate=learning_rate,
                lora=lora,
                seed=seed,
                eval=eval,
                resume=resume,
                checkpoint_minutes=checkpoint_minutes,
                license=license,
                processes=processes,
            )
        console.summary(_summary(trained, output))
        if trained.rejected:
            console.notice(f"rejected {count(trained.rejected, 'row')}")
            raise typer.Exit(options.REJECTED)


def _summary(trained: Trained, output: Path) -> str:
    """Return a one-line summary of the training."""
    progress = trained.progress
    summary = f"{output}: {count(progress.step, 'step')} in {duration(progress.seconds)}"
    if progress.first_loss is not None and progress.loss is not None:
        summary += f", loss {progress.first_loss:.4g} to {progress.loss:.4g}"
    if progress.best is not None:
        summary += f", {METRIC} {progress.best:.4f} at step {progress.best_step:,}"
    return summary
