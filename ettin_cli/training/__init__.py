"""Train a reranker on a teacher's scores, or on positives and negatives: the Ettin recipe."""

from ettin_cli.training.examples import read_examples
from ettin_cli.training.folder import ModelFolder
from ettin_cli.training.mining import NEGATIVES, Mined, MiningOptions, mine
from ettin_cli.training.positives import Examples, Sought, judged
from ettin_cli.training.processes import Processes, joined
from ettin_cli.training.progress import Measure
from ettin_cli.training.recipe import LOSSES, SEED, Recipe, check_recipe
from ettin_cli.training.rows import Example
from ettin_cli.training.run import CHECKPOINT_MINUTES, Trained, TrainRequest, train

__all__ = [
    "CHECKPOINT_MINUTES",
    "LOSSES",
    "NEGATIVES",
    "SEED",
    "Example",
    "Examples",
    "Measure",
    "Mined",
    "MiningOptions",
    "ModelFolder",
    "Processes",
    "Recipe",
    "Sought",
    "TrainRequest",
    "Trained",
    "check_recipe",
    "joined",
    "judged",
    "mine",
    "read_examples",
    "train",
]
