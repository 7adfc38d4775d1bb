"""The model in training: an encoder with a new Ettin head, or a reranker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ettin_cli.errors import InvalidArgumentError, ModelError
from ettin_cli.models import ModelFiles, read_json, read_modules, refuse_code
from ettin_cli.models.engines import (
    EngineSettings,
    LibraryTokens,
    Placement,
    TokenIds,
    chosen_dtype,
    run,
)
from ettin_cli.models.rerankers import blanks_last
from ettin_cli.records import Advance, Reporter, RerankerCard, Scores, no_progress

if TYPE_CHECKING:
    import torch

    from ettin_cli.records import Floats


class Student:
    """A cross-encoder in training; also a `TimedReranker`, so that it can be measured meanwhile.

    Args:
        seed: Seed of a new head's weights.
        lora: Rank of the update to every linear layer of the trunk; None trains all weights.

    Attributes:
        between: Called between batches when scoring, to handle interrupts.

    Raises:
        ModelError: The base cannot be loaded, or gives several scores per pair.
    """

    def __init__(
        self,
        base: ModelFiles,
        settings: EngineSettings,
        reporter: Reporter,
        *,
        seed: int,
        lora: int | None = None,
    ) -> None:
        import torch

        if not settings.trust_remote_code:
            refuse_code(base.folder)
        self.placement, self.half = training_placement(settings, reporter)
        self.between: Callable[[], None] = _nothing
        torch.manual_seed(seed)
        self.new_head = not is_reranker(base.folder)
        self.model = self._loaded(base.folder)
        limits = [self.model.max_seq_length, self.model.tokenizer.model_max_length]
        self.max_tokens = min(limit for limit in [*limits, settings.max_length] if limit)
        self.card = RerankerCard("student", "training", self.max_tokens)
        self.tokens = LibraryTokens(self.model.tokenizer, self.max_tokens)
        self.prompt: str = self.model._resolve_prompt(None, None) or ""
        self.parameters = sum(weight.numel() for weight in self.model.parameters())
        self.tuner = _adapted(self.model, lora) if lora else None
        self.trained = {
            name: weight for name, weight in self.model.named_parameters() if weight.requires_grad
        }

    def _loaded(self, folder: Path) -> Any:
        from sentence_transformers import CrossEncoder

        if self.new_head:
            folder = folder / (read_modules(folder) or [{"path": ""}])[0]["path"]
            return self.placement.load(with_head, folder, autocast=self.half)
        model = self.placement.load(CrossEncoder, folder, autocast=self.half)
        if model.num_labels != 1:
            raise ModelError(
                f"{folder} returns {model.num_labels} scores per pair, not one; "
                "a base is an encoder, or a reranker with one score",
                model=folder,
            )
        return model

    def read(self, pairs: Sequence[tuple[str, str]]) -> tuple[Sequence[TokenIds], list[bool]]:
        """Return each pair's tokens, truncated at the limit, and which were truncated."""
        return self.tokens.of_pairs([(self.prompt + query, text) for query, text in pairs])

    def forward(self, tokens: Sequence[TokenIds]) -> torch.Tensor:
        """Return the raw score of each pair."""
        import torch

        kind = self.placement.device.type
        # On a CPU the student is measured in fp32, as `ettin eval` scores the saved model.
        half = self.half and (self.model.training or kind != "cpu")
        features = self.placement.features(self.model, tokens)
        with torch.autocast(kind, torch.bfloat16, enabled=half):
            scores: torch.Tensor = self.model(features)["scores"]
        return scores.float().reshape(-1)

    def timed(
        self, pairs: Sequence[tuple[str, str]], advance: Advance = no_progress
    ) -> tuple[Scores, Floats]:
        """Return the scores of pairs, with zero seconds: the cost is not measured."""
        import numpy as np

        scores = self.score(pairs, advance)
        return scores, np.zeros(len(pairs), np.float32)

    @blanks_last
    def score(self, pairs: Sequence[tuple[str, str]], advance: Advance = no_progress) -> Scores:
        """Return the scores of pairs with the current weights."""
        import numpy as np

        values = np.full(len(pairs), np.nan, np.float32)
        tokens, cut = self.read(pairs)

        def keep(batch: list[int]) -> None:
            self.between()
            values[batch] = self.forward([tokens[at] for at in batch]).cpu().numpy()

        self.model.eval()
        run([len(text.ids) for text in tokens], keep, self.placement, advance)
        self.model.train()
        if not np.isfinite(values).all():
            raise ModelError(
                "the student returned scores that are not finite", code="training-diverged"
            )
        return Scores(values, np.array(cut, np.bool_))

    def save(self, folder: Path) -> None:
        """Write the model in sentence-transformers format, with LoRA merged into the weights."""
        if self.tuner is not None:
            self.tuner.merge_and_unload()
        self.model.eval()
        self.model.save_pretrained(str(folder), create_model_card=False)


def _nothing() -> None:
    pass


def is_reranker(folder: Path) -> bool:
    """Return whether a model scores pairs, rather than being an encoder that needs a head."""
    if modules := read_modules(folder):
        settings = read_json(folder / "config_sentence_transformers.json", default={})
        last = read_json(folder / modules[-1]["path"] / "config.json", default={})
        return "CrossEncoder" in (settings.get("model_type"), last.get("model_type")) or (
            last.get("module_output_name") == "scores"
        )
    classes = read_json(folder / "config.json", default={}).get("architectures") or [""]
    return str(classes[0]).endswith("ForSequenceClassification")


def with_head(
    folder: str,
    *,
    device: str,
    trust_remote_code: bool,
    local_files_only: bool,
    model_kwargs: dict[str, Any],
) -> Any:
    """Return an encoder with a randomly initialised Ettin head."""
    from sentence_transformers import CrossEncoder
    from sentence_transformers.base.modules import Dense, Transformer
    from sentence_transformers.sentence_transformer.modules import LayerNorm, Pooling
    from torch.nn import GELU, Identity

    files = {"trust_remote_code": trust_remote_code, "local_files_only": local_files_only}
    trunk = Transformer(
        folder, model_kwargs={**model_kwargs, **files}, processor_kwargs=files, config_kwargs=files
    )
    size = trunk.get_embedding_dimension()
    head = [
        Pooling(size, "cls"),
        Dense(size, size, bias=False, activation_function=GELU()),
        LayerNorm(size),
        Dense(size, 1, activation_function=Identity(), module_output_name="scores"),
    ]
    return CrossEncoder(modules=[trunk, *head], device=device, activation_fn=Identity())


def training_placement(settings: EngineSettings, reporter: Reporter) -> tuple[Placement, bool]:
    """Return the placement with fp32 weights, and whether to multiply in bf16.

    By default a GPU that has bf16 multiplies in it, and a CPU in fp32, so that a run on any CPU
    gives the same weights up to rounding. `fast` is bf16 on a CPU with bf16 support.

    Raises:
        InvalidArgumentError: Training in fp16 was requested.
    """
    import dataclasses

    import torch

    if settings.dtype == "fp16":
        raise InvalidArgumentError(
            "cannot train in fp16: small gradients underflow",
            argument="dtype",
            value="fp16",
            choices=("bf16", "fp32"),
        )
    placement = Placement(dataclasses.replace(settings, dtype="fp32"), reporter)
    half = chosen_dtype(settings.dtype, placement.device, reporter) is torch.bfloat16
    without = placement.device.type == "cuda" and not half and settings.dtype != "fp32"
    reason = ", since this GPU has no bf16" if without else ""
    reporter.detail(f"training in fp32, products in {'bf16' if half else 'fp32'}{reason}")
    return placement, half


def _adapted(model: Any, rank: int) -> Any:
    """Freeze the trunk and add LoRA to its linear layers (Hu et al., 2021)."""
    from peft import LoraConfig, LoraModel

    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear")
    return LoraModel(model[0].auto_model, {"default": config}, "default")
