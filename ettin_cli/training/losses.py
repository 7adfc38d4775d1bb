"""A student's scores and their targets -> the loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ettin_cli.training.recipe import BCE, LISTWISE, MARGIN_MSE, MSE
from ettin_cli.training.rows import Example

if TYPE_CHECKING:
    import torch


def total_loss(scores: torch.Tensor, examples: Sequence[Example], name: str | None) -> torch.Tensor:
    """Return the sum of the examples' losses, each a mean over its terms.

    | loss       | a teacher's scores                        | positives and negatives         |
    |------------|-------------------------------------------|---------------------------------|
    | mse        | (score - teacher's)^2                     |                                 |
    | margin-mse | the same of every difference of two texts |                                 |
    | listwise   | cross entropy of the two softmaxes        | -log softmax of each positive   |
    | bce        | cross entropy with a probability          | cross entropy with 1 and 0      |

    The release distils with mse on raw scores. Margin-MSE: Hofstätter et al., 2020; listwise:
    ListNet (Cao et al., 2007), and for positives each against the negatives alone.

    Args:
        scores: One per text, the examples' texts concatenated.
        name: None: mse for a teacher's scores, listwise for positives and negatives.
    """
    import torch

    parts = torch.split(scores, [len(example.texts) for example in examples])
    total = scores.new_zeros(())
    for pointwise in (MSE, BCE):
        chosen = [at for at, example in enumerate(examples) if _named(example, name) == pointwise]
        if chosen:
            picked = [parts[at] for at in chosen]
            total = total + _pointwise(picked, [examples[at] for at in chosen], pointwise)
    for part, example in zip(parts, examples, strict=True):
        if _named(example, name) in (MARGIN_MSE, LISTWISE):
            total = total + _listed(part, example, _named(example, name))
    return total


def _named(example: Example, name: str | None) -> str:
    return name or (MSE if example.scored else LISTWISE)


def _pointwise(
    parts: Sequence[torch.Tensor], examples: Sequence[Example], name: str
) -> torch.Tensor:
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

    scores = torch.cat(list(parts))
    targets = scores.new_tensor([target for example in examples for target in example.targets])
    weights = scores.new_tensor(
        [1 / len(example.texts) for example in examples for _ in example.texts]
    )
    if name == BCE:
        return cross_entropy(scores, targets, weights, reduction="sum")
    return ((scores - targets).square() * weights).sum()


def _listed(scores: torch.Tensor, example: Example, name: str) -> torch.Tensor:
    targets = scores.new_tensor(list(example.targets))
    if name == MARGIN_MSE:
        return _margins(scores, targets)
    if example.scored:
        return -(targets.softmax(0) * scores.log_softmax(0)).sum()
    return _contrastive(scores, [target > 0 for target in example.targets])


def _margins(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    import torch

    first, second = torch.triu_indices(len(scores), len(scores), 1, device=scores.device)
    errors = (scores[first] - scores[second]) - (targets[first] - targets[second])
    return errors.square().mean()


def _contrastive(scores: torch.Tensor, positive: Sequence[bool]) -> torch.Tensor:
    """Return the mean over positives of -log softmax of it and all negatives.

    Which are positive is known here: to ask the scores' GPU would take a wait for every row.
    """
    import torch

    negatives = [at for at, chosen in enumerate(positive) if not chosen]
    rows = [[at, *negatives] for at, chosen in enumerate(positive) if chosen]
    places = torch.tensor(rows, dtype=torch.long, device=scores.device)
    logits = scores[places.reshape(len(rows), 1 + len(negatives))]
    return -logits.log_softmax(1)[:, 0].mean()
