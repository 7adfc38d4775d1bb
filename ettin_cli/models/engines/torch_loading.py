"""Loading a model for torch, whole or not at all, with its head in float32."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ettin_cli.errors import ModelError, first_line
from ettin_cli.models.engines.torch_memory import is_out_of_memory

if TYPE_CHECKING:
    import torch

# Padded attention, as transformers names it.
SDPA = "sdpa"


def loaded(
    model_class: Callable[..., Any],
    folder: Path,
    *,
    device: torch.device,
    dtype: torch.dtype,
    trust_remote_code: bool,
) -> Any:
    """Return a complete model with padded attention, in inference mode. Nothing is downloaded.

    Raises:
        ModelError: The folder's model cannot be loaded, or is incomplete.
        RuntimeError: The GPU's memory is exhausted.
    """
    try:
        model = model_class(
            str(folder),
            device=str(device),
            trust_remote_code=trust_remote_code,
            local_files_only=True,
            model_kwargs={
                "dtype": dtype,
                "attn_implementation": SDPA,
                "use_safetensors": True,
            },
        )
    except Exception as error:  # damaged files can raise anything
        if is_out_of_memory(error):
            raise
        untrusted = "trust_remote" in str(error)
        raise ModelError(
            f"cannot load the model in {folder}: {first_line(error)}",
            code="untrusted-code" if untrusted else "model-unusable",
            model=folder,
        ) from error
    if absent := _made_up(model):
        raise ModelError(
            f"{folder} has no weights for {absent[0]}, "
            f"one of {len(absent)} parameters that would be random: "
            "it is incomplete or not a reranker",
            code="model-incomplete",
            folder=folder,
        )
    return model.eval()


def _made_up(model: torch.nn.Module) -> list[str]:
    """Return the parameters that transformers initialised randomly, since no file has them."""
    from transformers import PreTrainedModel

    trunk = next((part for part in model.modules() if isinstance(part, PreTrainedModel)), None)
    if trunk is None:
        return []
    loaded = {
        name: getattr(parameter, "_is_hf_initialized", False)
        for name, parameter in trunk.named_parameters()
    }
    if not any(loaded.values()):
        # This version of transformers does not mark loaded parameters.
        return []
    # A bare trunk's own pooler is unused: pooling is a separate module.
    bare = type(trunk).__name__.endswith("Model")
    return [name for name, there in loaded.items() if not (there or (bare and "pooler." in name))]


def keep_head_exact(model: Any) -> None:
    """Compute in float32 what follows the trunk, whatever the trunk computes in.

    The head is small. In bf16 a score between 8 and 16 would be a multiple of 1/16.
    """
    for part in _head(model):
        part.float()
        part.forward = _exact(part.forward, next(model.parameters()).device.type)


def _head(model: Any) -> list[Any]:
    """Return the modules behind the trunk: sentence-transformers' own, or those of transformers."""
    first, *rest = list(model.children())
    whole = getattr(first, "model", None)
    trunk = getattr(whole, "base_model", whole)
    if whole is None or trunk is whole:
        return rest
    return [*rest, *(part for part in whole.children() if part is not trunk)]


def _exact(forward: Callable[..., Any], device: str) -> Callable[..., Any]:
    import torch

    @wraps(forward)
    def exact(*given: Any, **named: Any) -> Any:
        with torch.autocast(device, enabled=False):
            return forward(*map(_in_float32, given), **named)

    return exact


def _in_float32(value: Any) -> Any:
    import torch

    if isinstance(value, dict):
        return {name: _in_float32(one) for name, one in value.items()}
    if isinstance(value, torch.Tensor) and value.is_floating_point():
        return value.float()
    return value
