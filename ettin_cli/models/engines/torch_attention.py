"""Attention without padding: which kernel computes it on a GPU, and how a model uses that kernel.

The texts of a batch are concatenated in one row. Kernels are those of installed packages; none is
fetched from the hub.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

from ettin_cli.errors import first_line
from ettin_cli.models.engines.torch_loading import SDPA

if TYPE_CHECKING:
    import torch

# Flash Attention 2 needs this compute capability.
CAPABILITY = (8, 0)
# What a kernel has to take, by torch's names.
TAKEN = {"scale", "window_size"}
# Modules of sentence-transformers that read a batch without padding.
UNPADDED_MODULES = set("Pooling Dense LayerNorm Normalize Dropout MultiVectorMask".split())
UNPADDED_TASKS = {"feature-extraction", "fill-mask"}
# Where models of transformers have the dropout of their attention.
DROPOUTS = ("attention_dropout", "attention_probs_dropout_prob")
# What a batch without padding has besides the tokens.
LAYOUT = {"cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k", "position_ids"}


# What a first module of sentence-transformers may give.
OUTPUTS = ("token_embeddings", "scores", "sentence_embedding")


class Kernel(NamedTuple):
    """A kernel for attention within each of several texts in one row.

    Args:
        name: Its name among the attentions of transformers.
        title: Its name for people.
        run: Of queries, keys and values, each (tokens, heads, size); the offsets of the texts,
            int32; the tokens of the longest text; the scale of the products; and how far a token
            attends to each side, or None: all of its text.
    """

    name: str
    title: str
    run: Callable[..., torch.Tensor]


def find_kernel(device: torch.device) -> Kernel | str:
    """Return the kernel for a device, or why there is none."""
    import torch

    if device.type != "cuda":
        return f"there is no other for device {device.type}"
    capability = torch.cuda.get_device_capability(device)
    if torch.version.hip is None and capability < CAPABILITY:
        has = ".".join(map(str, capability))
        return f"Flash Attention needs compute capability 8.0, and this GPU has {has}"
    found = [torch_kernel(), installed_kernel()]
    kernels = [one for one in found if isinstance(one, Kernel)]
    return kernels[0] if kernels else " and ".join(map(str, found))


def torch_kernel() -> Kernel | str:
    """Return torch's own kernel, which newer versions have, or why there is none."""
    import torch

    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return f"torch {torch.__version__} has no attention for texts of different lengths"
    if missing := TAKEN - inspect.signature(varlen_attn).parameters.keys():
        return f"the varlen_attn of torch {torch.__version__} takes no {min(missing)}"

    def run(q: Any, k: Any, v: Any, begins: Any, longest: int, scale: float, reach: Any) -> Any:
        return varlen_attn(
            q, k, v, begins, begins, longest, longest, scale=scale, window_size=_window(reach)
        )

    return Kernel("ettin_varlen", f"torch {torch.__version__}'s Flash Attention", run)


def installed_kernel() -> Kernel | str:
    """Return the kernel of the package flash-attn, or why there is none."""
    if find_spec("flash_attn") is None:
        return "flash_attn is not installed"
    try:
        from flash_attn import __version__, flash_attn_varlen_func
    except Exception as error:  # an extension built for another torch can raise anything
        return f"flash_attn cannot be imported: {first_line(error)}"
    if "window_size" not in inspect.signature(flash_attn_varlen_func).parameters:
        return f"flash_attn {__version__} has no windows"

    def run(q: Any, k: Any, v: Any, begins: Any, longest: int, scale: float, reach: Any) -> Any:
        return flash_attn_varlen_func(
            *(q, k, v, begins, begins, longest, longest),
            softmax_scale=scale,
            window_size=_window(reach),
        )

    return Kernel("ettin_flash_attn", f"flash_attn {__version__}", run)


def _window(reach: int | None) -> tuple[int, int]:
    return (-1, -1) if reach is None else (reach, reach)


def unfit(model: Any, *, training: bool) -> str | None:
    """Return why a model needs padded batches; None if it may do without.

    Args:
        training: Whether it is to be trained, so that it drops out at random.
    """
    first, *rest = model.children()
    trunk = getattr(first, "model", None)
    if trunk is None:
        return f"its first module is a {type(first).__name__}"
    if getattr(first, "transformer_task", None) not in UNPADDED_TASKS:
        return "its own head reads padded batches"
    other = next((type(one).__name__ for one in rest if _padded(one)), None)
    if other:
        return f"its module {other} reads padded batches"
    if not getattr(trunk, "is_backend_compatible", lambda: False)():
        return "transformers cannot replace its attention"
    if "position_ids" not in inspect.signature(trunk.forward).parameters:
        return "it takes no positions"
    if any(getattr(module, "is_causal", False) for module in trunk.modules()):
        return "its tokens attend to one side only"
    if training and any(getattr(trunk.config, name, None) for name in DROPOUTS):
        return "it is trained with dropout of attention, which the kernels lack"
    return None


def _padded(module: Any) -> bool:
    return type(module).__name__ not in UNPADDED_MODULES


def use(model: Any, kernel: Kernel) -> None:
    """Make a model compute its attention with a kernel."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    AttentionInterface.register(kernel.name, partial(_attention, kernel.run))
    AttentionMaskInterface.register(kernel.name, _mask)
    first = model[0]
    first.model.set_attn_implementation(kernel.name)
    first._flatten_position_offset = _first_position(first.model)
    if first.model_forward_params is not None:
        first.model_forward_params |= LAYOUT


def use_padded(model: Any) -> None:
    """Make a model compute its attention in padded batches again."""
    model[0].model.set_attn_implementation(SDPA)


def is_unpadded(model: Any) -> bool:
    """Return whether a model takes batches without padding, because it uses a kernel."""
    trunk = getattr(model[0], "model", None)
    attention = getattr(getattr(trunk, "config", None), "_attn_implementation", None)
    return str(attention).startswith("ettin_")


def _first_position(trunk: Any) -> int:
    """Return the position of a text's first token: not 0 where positions follow the padding's."""
    import torch

    for module in trunk.modules():
        padding = getattr(module, "padding_idx", None)
        table = getattr(module, "position_embeddings", None)
        if isinstance(padding, int) and isinstance(table, torch.nn.Embedding):
            return padding + 1
    return 0


def _attention(
    run: Callable[..., torch.Tensor],
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float | None = None,
    sliding_window: int | None = None,
    dropout: float = 0.0,
    cu_seq_lens_q: torch.Tensor | None = None,
    max_length_q: int | None = None,
    **more: Any,
) -> tuple[torch.Tensor, None]:
    """Compute attention as transformers asks for it; the tensors are (rows, heads, tokens, size).

    A batch that is padded after all, such as queries with expansion tokens, is left to SDPA.
    """
    import torch
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if cu_seq_lens_q is None and attention_mask is not None:
        return sdpa_attention_forward(
            *(module, query, key, value, attention_mask),
            scaling=scaling,
            sliding_window=sliding_window,
            dropout=dropout,
            **more,
        )
    if dropout:
        raise ValueError("the kernel has no dropout")
    if more.get("is_causal", getattr(module, "is_causal", True)):
        raise ValueError("the kernel is used for attention to both sides only")
    rows, _, tokens, _ = query.shape
    if cu_seq_lens_q is None:
        # Without a mask, each row is a whole text.
        cu_seq_lens_q = torch.arange(rows + 1, dtype=torch.int32, device=query.device) * tokens
        max_length_q = tokens
    # The rotation of tokens may have left bf16.
    kind = query.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else query.dtype
    one_row = (one.transpose(1, 2).flatten(0, 1).to(dtype) for one in (query, key, value))
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    # transformers counts the token itself.
    reach = None if sliding_window is None else sliding_window - 1
    found = run(*one_row, cu_seq_lens_q, int(max_length_q or 0), scale, reach)
    return found.reshape(rows, tokens, *found.shape[1:]), None


def _mask(*given: Any, **named: Any) -> Any:
    """Return SDPA's mask of a padded batch; one row of texts needs none."""
    from transformers.masking_utils import sdpa_mask

    return None if named.get("attention_mask") is None else sdpa_mask(*given, **named)


def packed(model: Any, features: dict[str, Any]) -> dict[str, Any]:
    """Return a padded batch of sentence-transformers without its padding, if the model takes that.

    Queries with expansion tokens stay padded, since those take the place of the padding.
    """
    import torch

    if not is_unpadded(model) or "query_expansion_positions" in features:
        return features
    mask = features["attention_mask"].bool()
    positions = mask.cumsum(1) - 1 + model[0]._flatten_position_offset
    flat = {
        name: value[mask][None] if getattr(value, "shape", None) == mask.shape else value
        for name, value in {**features, "position_ids": positions}.items()
        if name != "attention_mask"
    }
    lengths = mask.sum(1)
    begins = torch.nn.functional.pad(lengths.cumsum(0), (1, 0)).int()
    longest = int(lengths.max())
    return {
        **flat,
        "cu_seq_lens_q": begins,
        "cu_seq_lens_k": begins,
        "max_length_q": longest,
        "max_length_k": longest,
    }


def repadded(tokens: torch.Tensor, begins: torch.Tensor) -> torch.Tensor:
    """Return token vectors (1, tokens, size) as (texts, tokens, size), with zeros at the end."""
    import torch

    texts = torch.split(tokens[0], torch.diff(begins).tolist())
    return torch.nn.utils.rnn.pad_sequence(list(texts), batch_first=True)


def trunk_output(model: Any, texts: Sequence[str]) -> torch.Tensor:
    """Return a trunk's vectors of all tokens of texts, (tokens, size), in float32.

    Of a trunk with a head of its own, return what the head gives.
    """
    import torch

    config = getattr(getattr(model[0], "model", None), "config", None)
    positions = getattr(config, "max_position_embeddings", None) or 512
    limit = min(512, model.tokenizer.model_max_length, positions)
    read = model.tokenizer(
        list(texts), padding=True, truncation=True, max_length=limit, return_tensors="pt"
    )
    device = next(model.parameters()).device
    padded = {name: value.to(device) for name, value in read.items()}
    features = packed(model, padded)
    with torch.inference_mode():
        output = model[0](dict(features))
    name = next(name for name in OUTPUTS if name in output)
    values: torch.Tensor = output[name].float()
    if name != OUTPUTS[0]:
        return values
    return values[padded["attention_mask"].bool()] if features is padded else values[0]
