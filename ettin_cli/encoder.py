"""An encoder's forward pass over many texts: what embedding and late interaction share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ettin_cli.engines import EngineSettings, Placement, run
from ettin_cli.errors import ModelError
from ettin_cli.hub import refuse_code
from ettin_cli.records import Advance, Reporter, no_progress

Sink = Callable[[list[int], dict[str, Any]], None]


class Encoder:
    """A sentence-transformers model fed with batches bounded by tokens.

    Args:
        folder: The model's folder.
        max_tokens: Where texts are cut, special tokens included.
    """

    def __init__(self, folder: Path, max_tokens: int, placement: Placement) -> None:
        from sentence_transformers import SentenceTransformer

        if not placement.settings.trust_remote_code:
            refuse_code(folder)
        if not (folder / "modules.json").is_file():
            placement.reporter.notice(f"{folder} names no pooling, so token vectors are averaged")
        self.folder = folder
        self.placement = placement
        self.max_tokens = max_tokens
        self.model = placement.load(SentenceTransformer, folder, unpadded=False)
        self.tokenizer = self.model.tokenizer
        if not hasattr(self.tokenizer, "pad"):
            raise ModelError(f"{folder} is no transformer, and such embedders are not supported")

    def token_ids(self, texts: Sequence[str]) -> tuple[list[list[int]], list[bool]]:
        """Return each text's token ids, cut at the limit, and whether they were cut."""
        if not texts:
            return [], []
        whole = self.tokenizer(list(texts), truncation=False, verbose=False)["input_ids"]
        cut = [len(ids) > self.max_tokens for ids in whole]
        if any(cut):
            short = self.tokenizer(list(texts), truncation=True, max_length=self.max_tokens)
            return short["input_ids"], cut
        return whole, cut

    def encode(
        self,
        ids: Sequence[list[int]],
        sink: Sink,
        advance: Advance = no_progress,
        *,
        prompt: str = "",
    ) -> None:
        """Give `sink` the model's output for batches of positions in `ids`.

        The output has `token_embeddings`, `attention_mask` and the pooled `sentence_embedding`.

        Args:
            prompt: What all the texts begin with; some models do not pool over it.
        """
        extra = {"prompt_length": self._prompt_length(prompt)} if prompt else {}

        def forward(batch: list[int]) -> None:
            padded = self.tokenizer.pad(
                {"input_ids": [ids[at] for at in batch]}, return_tensors="pt"
            )
            device = self.placement.device
            features = {name: value.to(device) for name, value in padded.items()}
            output = self.model({**features, **extra})
            if "sentence_embedding" not in output:
                raise ModelError(f"{self.folder} gives no vector for a text: it has no pooling")
            sink(batch, output)

        run([len(one) for one in ids], forward, self.placement, advance)

    def _prompt_length(self, prompt: str) -> int:
        """Return how many tokens a text begins with because of a prompt."""
        ids = self.tokenizer(prompt)["input_ids"]
        return len(ids) - (ids[-1] in self.tokenizer.all_special_ids)


_loaded: dict[tuple[Path, int, EngineSettings], Encoder] = {}


def load_encoder(
    folder: Path, max_tokens: int, settings: EngineSettings, reporter: Reporter
) -> Encoder:
    """Return the encoder of a folder; loaded once where an embedder and a reranker share it."""
    key = folder, max_tokens, replace(settings, max_length=None)
    if key not in _loaded:
        _loaded[key] = Encoder(folder, max_tokens, Placement(settings, reporter))
    return _loaded[key]
