"""Token ids of a batch -> the inputs of a model on its device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ettin_cli.models.engines.assembling import TokenIds
from ettin_cli.models.engines.tokens import TYPES

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray


def inputs(model: Any, texts: Sequence[TokenIds], *, flat: bool) -> dict[str, Any]:
    """Return the inputs of a batch, in the CPU's memory.

    Args:
        model: A model of sentence-transformers, whose tokenizer says how to pad.
        flat: Whether the texts are concatenated in one row, with the offset of each. The library's
            own method for that drops the token types.
    """
    import numpy as np

    lengths = np.array([len(text.ids) for text in texts])
    names = ["input_ids", *([TYPES] if TYPES in model.tokenizer.model_input_names else [])]
    rows = {
        name: np.concatenate([text.types if name == TYPES else text.ids for text in texts])
        for name in names
    }
    made = _flat(rows, lengths, model) if flat else _padded(rows, lengths, model.tokenizer)
    return {name: _tensor(value) for name, value in made.items()}


def _flat(rows: dict[str, NDArray[Any]], lengths: NDArray[Any], model: Any) -> dict[str, Any]:
    import numpy as np

    ends = lengths.cumsum()
    offset = getattr(model[0], "_flatten_position_offset", 0)
    rows["position_ids"] = np.arange(ends[-1]) - np.repeat(ends - lengths, lengths) + offset
    begins = np.concatenate([[0], ends]).astype(np.int32)
    return {
        **{name: row.astype(np.int64)[None] for name, row in rows.items()},
        "cu_seq_lens_q": begins,
        "cu_seq_lens_k": begins,
        "max_length_q": int(lengths.max()),
        "max_length_k": int(lengths.max()),
    }


def _padded(rows: dict[str, NDArray[Any]], lengths: NDArray[Any], tokenizer: Any) -> dict[str, Any]:
    import numpy as np

    size = lengths.max()
    places, lengths = np.arange(size), lengths[:, None]
    left = tokenizer.padding_side == "left"
    there = places >= size - lengths if left else places < lengths
    fill = {"input_ids": tokenizer.pad_token_id or 0, TYPES: tokenizer.pad_token_type_id}
    made: dict[str, Any] = {"attention_mask": there.astype(np.int64)}
    for name, row in rows.items():
        made[name] = np.full(there.shape, fill[name], np.int64)
        made[name][there] = row
    return made


def _tensor(value: Any) -> Any:
    import torch

    return value if isinstance(value, int) else torch.from_numpy(value)


def on_device(made: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """Return inputs on a device; a GPU does not wait for the copies, nor does the caller."""
    import torch

    return {
        name: _moved(value, device) if isinstance(value, torch.Tensor) else value
        for name, value in made.items()
    }


def _moved(value: torch.Tensor, device: torch.device) -> torch.Tensor:
    if device.type != "cuda":
        return value.to(device)
    return (value if value.is_pinned() else value.pin_memory()).to(device, non_blocking=True)
