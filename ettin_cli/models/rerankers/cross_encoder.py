"""Cross-encoders: rerankers that read a query together with a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ettin_cli.errors import ModelError
from ettin_cli.models.engines.library_tokens import LibraryTokens
from ettin_cli.models.engines.onnx_export import SCORES, write_cross_encoder
from ettin_cli.models.engines.onnx_model import OnnxModel
from ettin_cli.models.engines.registry import load_model
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.engines.tokens import Tokens, token_limit
from ettin_cli.models.engines.torch_devices import sharing_devices
from ettin_cli.models.engines.torch_runtime import Placement, run, windows_of
from ettin_cli.models.hub import ModelFiles
from ettin_cli.models.model_folder import read_json
from ettin_cli.models.rerankers.empty_texts import blanks_last
from ettin_cli.models.rerankers.resolved import FolderReranker, Reference
from ettin_cli.models.rerankers.score_checks import ScriptNotice, checked, distinct
from ettin_cli.records import Advance, Reporter, Reranker, RerankerCard, Scores, no_progress
from ettin_cli.runtime import Loaded
from ettin_cli.settings import ETTIN_MODELS

if TYPE_CHECKING:
    from ettin_cli.records import Floats

ENGLISH_ONLY = {model.hub_id for model in ETTIN_MODELS.values()}


class CrossEncoder(Protocol):
    """Computes raw logits of pairs, without an activation function."""

    @property
    def backend(self) -> str:
        """The runtime, device and dtype, as shown in results."""
        ...

    @property
    def max_tokens(self) -> int:
        """Maximum tokens read of a pair, special tokens included."""
        ...

    @property
    def at_once(self) -> int:
        """How many calls of `score` at once keep its devices busy."""
        ...

    def score(
        self, pairs: Sequence[tuple[str, str]], advance: Advance = no_progress
    ) -> tuple[Floats, list[bool]]:
        """Return a score for each (query, text) pair, and whether the pair was truncated."""
        ...


class OnnxCrossEncoder:
    """A cross-encoder that runs without torch."""

    at_once = 1

    def __init__(self, folder: Path, model: OnnxModel) -> None:
        self.model = model
        self.backend = model.backend
        limit = token_limit(folder)
        self.max_tokens = min(limit, model.settings.max_length or limit)
        self.tokens = Tokens(folder, self.max_tokens)
        self.prompt = default_prompt(folder)

    def score(
        self, pairs: Sequence[tuple[str, str]], advance: Advance = no_progress
    ) -> tuple[Floats, list[bool]]:
        """Return a score for each (query, text) pair, and whether the pair was truncated."""
        import numpy as np

        values = np.full(len(pairs), np.nan, np.float32)

        def keep(batch: list[int], outputs: list[Floats]) -> None:
            values[batch] = outputs[0][:, 0]

        texts, cut = self.tokens.of_pairs([(self.prompt + query, text) for query, text in pairs])
        self.model.run(texts, [SCORES], keep, advance)
        return values, cut


def default_prompt(folder: Path) -> str:
    """Return a cross-encoder's prefix of every query; empty if it has none."""
    settings = read_json(folder / "config_sentence_transformers.json", default={})
    return str((settings.get("prompts") or {}).get(settings.get("default_prompt_name")) or "")


class TorchCrossEncoder:
    """A cross-encoder run by sentence-transformers, on any device.

    Raises:
        ModelError: It cannot be loaded, or returns several scores per pair.
    """

    def __init__(self, folder: Path, placement: Placement) -> None:
        from sentence_transformers import CrossEncoder

        self.placement = placement
        self.model = placement.load(CrossEncoder, folder)
        if self.model.num_labels != 1:
            raise ModelError(f"{folder} returns {self.model.num_labels} scores per pair, not one")
        self.backend = placement.backend
        self.at_once = min(2, placement.at_once)
        asked = placement.settings.max_length
        limits = [self.model.max_seq_length, self.model.tokenizer.model_max_length, asked]
        self.max_tokens = min(limit for limit in limits if limit)
        self.tokens = LibraryTokens(self.model.tokenizer, self.max_tokens)
        self.prompt: str = self.model._resolve_prompt(None, None) or ""

    def score(
        self, pairs: Sequence[tuple[str, str]], advance: Advance = no_progress
    ) -> tuple[Floats, list[bool]]:
        """Return a score for each (query, text) pair, and whether the pair was truncated."""
        import numpy as np

        values, cut = np.empty(len(pairs), np.float32), list[bool]()
        for window, flags in self.placement.windows(pairs, self._scored, advance):
            values[len(cut) : len(cut) + len(flags)] = window
            cut += flags
        return values, cut

    def _scored(
        self, pairs: Sequence[tuple[str, str]], advance: Advance
    ) -> tuple[Floats, list[bool]]:
        """Score one window, whose scores are fetched at once: a GPU need not wait in between."""
        import numpy as np
        import torch

        tokens, cut = self.tokens.of_pairs([(self.prompt + query, text) for query, text in pairs])

        def forward(batch: list[int]) -> None:
            features = self.placement.features(self.model, [tokens[at] for at in batch])
            with self.placement.turn:
                scores = self.model(features)["scores"]
            parts.append((batch, scores.float().reshape(-1)))

        parts: list[tuple[list[int], torch.Tensor]] = []
        run([len(text.ids) for text in tokens], forward, self.placement, advance)
        values = np.full(len(pairs), np.nan, np.float32)
        if parts:
            every = torch.cat([scores for _, scores in parts]).cpu().numpy()
            values[[at for batch, _ in parts for at in batch]] = every
        return values, cut


def load_cross_encoder(folder: Path, settings: EngineSettings, reporter: Reporter) -> CrossEncoder:
    """Load a cross-encoder.

    Raises:
        ModelError: It cannot be loaded, or needs custom code that is not trusted.
    """
    if devices := sharing_devices(settings, reporter):
        return SharedCrossEncoder(folder, replace(settings, devices=devices), reporter)
    return load_model(
        folder, settings, reporter, write_cross_encoder, OnnxCrossEncoder, TorchCrossEncoder
    )


class SharedCrossEncoder:
    """A cross-encoder on several devices, each of which scores some windows of the pairs.

    They are the windows of a single GPU, so the scores are those of a single GPU.
    """

    def __init__(self, folder: Path, settings: EngineSettings, reporter: Reporter) -> None:
        from ettin_cli.models.engines.workers import Workers

        load = partial(_on_device, folder, settings)
        self.workers = Workers(load, settings.devices, reporter, ["backend", "max_tokens"])
        self.backend: str = self.workers.facts["backend"]
        self.max_tokens: int = self.workers.facts["max_tokens"]
        self.at_once = len(settings.devices)

    def score(
        self, pairs: Sequence[tuple[str, str]], advance: Advance = no_progress
    ) -> tuple[Floats, list[bool]]:
        """Return a score for each (query, text) pair, and whether the pair was truncated."""
        import numpy as np

        values, cut = np.empty(len(pairs), np.float32), list[bool]()
        for window, flags in self.workers.each("score", windows_of(pairs)):
            values[len(cut) : len(cut) + len(flags)] = window
            cut += flags
            advance(len(flags))
        return values, cut


def _on_device(
    folder: Path, settings: EngineSettings, device: str, reporter: Reporter
) -> CrossEncoder:
    alone = replace(settings, device=device, devices=(), every_gpu=False)
    return load_cross_encoder(folder, alone, reporter)


class CrossEncoderReranker:
    """A cross-encoder's raw logits, without activation; equal pairs are scored once."""

    def __init__(self, files: ModelFiles, settings: EngineSettings, reporter: Reporter) -> None:
        self.model = load_cross_encoder(files.folder, settings, reporter)
        self.card = RerankerCard(
            files.name, self.model.backend, self.model.max_tokens, at_once=self.model.at_once
        )
        self.script = ScriptNotice(files.name, reporter, english=files.name in ENGLISH_ONLY)

    @blanks_last
    def score(self, pairs: Sequence[tuple[str, str]], advance: Advance = no_progress) -> Scores:
        """Score (query, text) pairs, in their order."""
        import numpy as np

        some, which = distinct(pairs)
        self.script.check(side for pair in some for side in pair)
        values, cut = self.model.score(some, advance)
        advance(len(pairs) - len(some))
        return Scores(checked(values, self.card.name)[which], np.array(cut, np.bool_)[which])


class CrossEncoderModel(FolderReranker):
    """A cross-encoder: an alias, a hub id, or a folder."""

    def __init__(self, files: ModelFiles) -> None:
        super().__init__(files)
        self.english = files.name in ENGLISH_ONLY

    def load(self, settings: EngineSettings, reporter: Reporter, loaded: Loaded) -> Reranker:
        """Load the model.

        Raises:
            ModelError: It cannot be loaded, or not on the requested device.
        """
        return CrossEncoderReranker(self.files, settings, reporter)

    def prompt(self) -> str:
        """Return the prefix of every query."""
        return default_prompt(self.files.folder)


def find(reference: Reference) -> CrossEncoderModel:
    """Return the cross-encoder of a reference.

    Raises:
        ModelError: The model does not exist or is incomplete.
    """
    return CrossEncoderModel(reference.files)
