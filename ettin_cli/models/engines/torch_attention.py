"""Loading a model for torch, with the attention that it is to use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ettin_cli.errors import ModelError, first_line

if TYPE_CHECKING:
    import torch

SDPA = "sdpa"
FLASH = "flash_attention_2"


def loaded(
    model_class: Callable[..., Any],
    folder: Path,
    attention: str,
    *,
    device: torch.device,
    dtype: torch.dtype,
    trust_remote_code: bool,
) -> Any:
    """Return a complete model with this attention, as transformers names it, in inference mode.

    Raises:
        ModelError: The folder's model cannot be loaded, or is incomplete.
    """
    try:
        model = model_class(
            str(folder),
            device=str(device),
            trust_remote_code=trust_remote_code,
            local_files_only=True,
            model_kwargs={
                "dtype": dtype,
                "attn_implementation": attention,
                "use_safetensors": True,
            },
        )
    except Exception as error:  # damaged files can raise anything
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
