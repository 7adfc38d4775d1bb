"""Texts -> unit vectors, by any sentence-transformers model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ettin_cli.encoder import load_encoder
from ettin_cli.engines import EngineSettings
from ettin_cli.errors import MissingExtraError, ModelError
from ettin_cli.hub import EMBEDDED, ModelFiles, find_model, read_json, weights_hash
from ettin_cli.records import (
    Advance,
    Embedder,
    EmbedderCard,
    Reporter,
    TokenCounter,
    no_progress,
)
from ettin_cli.settings import MINILM_ID

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from ettin_cli.records import Floats

NO_LIMIT = 1_000_000


def find_embedder(name: str, *, offline: bool, reporter: Reporter) -> ModelFiles:
    """Return an embedder's files; `auto` is all-MiniLM-L6-v2: packaged, else cached, else fetched.

    Raises:
        ModelError: It is not to be had.
    """
    if name != "auto":
        return find_model(name, offline=offline, reporter=reporter)
    try:
        return find_model(EMBEDDED, offline=offline, reporter=reporter)
    except MissingExtraError as missing:
        try:
            return find_model(MINILM_ID, offline=offline, reporter=reporter)
        except ModelError as error:
            raise ModelError(error.problem, hint=missing.hint) from error


def read_card(files: ModelFiles, max_length: int | None = None) -> EmbedderCard:
    """Return what an index must remember of an embedder, without loading it.

    Args:
        max_length: A lower cap on tokens than the model's own.
    """
    folder = files.folder
    modules = read_json(folder / "modules.json", default=[])
    prompts = read_json(folder / "config_sentence_transformers.json", default={}).get("prompts", {})
    most = _max_tokens(folder)
    return EmbedderCard(
        name=files.name,
        revision=files.revision,
        weights=weights_hash(folder),
        dimension=_dimension(folder, modules),
        max_tokens=min(most, max_length) if max_length else most,
        query_prompt=prompts.get("query") or "",
        document_prompt=prompts.get("document") or prompts.get("passage") or "",
    )


def _max_tokens(folder: Path) -> int:
    config = read_json(folder / "config.json", default={})
    limits = [
        read_json(folder / "sentence_bert_config.json", default={}).get("max_seq_length"),
        read_json(folder / "tokenizer_config.json", default={}).get("model_max_length"),
        config.get("max_position_embeddings"),
    ]
    return next((int(limit) for limit in limits if limit and limit < NO_LIMIT), 512)


def _dimension(folder: Path, modules: list[dict[str, Any]]) -> int:
    names = ("out_features", "embedding_dimension", "word_embedding_dimension")
    for module in reversed(modules):
        config = read_json(folder / module["path"] / "config.json", default={})
        if module["path"] and (found := next((config[n] for n in names if n in config), None)):
            return int(found)
    return int(read_json(folder / "config.json", default={}).get("hidden_size", 0))


class _Counter:
    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer

    def offsets(self, text: str) -> Sequence[tuple[int, int]]:
        """Return each token's start and end in `text`, in characters, in order."""
        found: list[tuple[int, int]] = self.tokenizer.encode(text, add_special_tokens=False).offsets
        return found


def load_token_counter(files: ModelFiles) -> TokenCounter:
    """Return the model's own tokenizer as a counter, without loading the model.

    Raises:
        ModelError: The folder has no tokenizer.json, or not a whole one.
    """
    from tokenizers import Tokenizer

    path = files.folder / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises nothing narrower
        raise ModelError(f"cannot read {path}: {error}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return _Counter(tokenizer)


class _Embedder:
    def __init__(
        self, files: ModelFiles, card: EmbedderCard, settings: EngineSettings, reporter: Reporter
    ) -> None:
        self.card, self.reporter = card, reporter
        self.encoder = load_encoder(files.folder, card.max_tokens, settings, reporter)
        self.engine = self.encoder.placement.engine

    def embed_queries(self, texts: Sequence[str]) -> Floats:
        """Return unit vectors, shape (len(texts), dimension)."""
        prompted = [self.card.query_prompt + text for text in texts]
        long = sum(self.encoder.token_ids(prompted)[1]) if prompted else 0
        if long:
            self.reporter.notice(
                f"{long} queries are longer than the {self.card.max_tokens} tokens that "
                f"{self.card.name} reads; what is beyond them does not count for retrieval"
            )
        return self._embed(prompted, no_progress)

    def embed_documents(self, texts: Sequence[str], advance: Advance = no_progress) -> Floats:
        """Return unit vectors, shape (len(texts), dimension)."""
        return self._embed([self.card.document_prompt + text for text in texts], advance)

    def _embed(self, texts: Sequence[str], advance: Advance) -> Floats:
        import numpy as np
        from torch.nn.functional import normalize

        vectors = np.empty((len(texts), self.card.dimension), np.float32)

        def keep(batch: list[int], output: dict[str, Any]) -> None:
            pooled = normalize(output["sentence_embedding"].float(), dim=1)
            vectors[batch] = pooled.cpu().numpy()

        self.encoder.encode(self.encoder.token_ids(texts)[0], keep, advance)
        if not np.isfinite(vectors).all():
            raise ModelError(
                f"{self.card.name} gave a vector that is not finite", hint="--dtype fp32"
            )
        return vectors


def load_embedder(files: ModelFiles, settings: EngineSettings, reporter: Reporter) -> Embedder:
    """Load an embedder.

    Raises:
        ModelError: It cannot be loaded, or not on the device that was asked for.
    """
    return _Embedder(files, read_card(files, settings.max_length), settings, reporter)
