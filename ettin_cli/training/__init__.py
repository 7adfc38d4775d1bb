"""Train a reranker on a teacher's scores, or on positives and negatives: the Ettin recipe."""

from ettin_cli.training.examples import Examples, read_examples
from ettin_cli.training.folder import ModelFolder
from ettin_cli.training.processes import Processes, joined
from ettin_cli.training.progress import Measure
from ettin_cli.training.recipe import LOSSES, Recipe, check_recipe
from ettin_cli.training.rows import Example
from ettin_cli.training.run import Trained, TrainRequest, train

__all__ = [
    "LOSSES",
    "Example",
    "Examples",
    "Measure",
    "ModelFolder",
    "Processes",
    "Recipe",
    "TrainRequest",
    "Trained",
    "check_recipe",
    "joined",
    "read_examples",
    "train",
]
