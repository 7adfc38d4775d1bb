"""Texts -> unit vectors, by any sentence-transformers model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ettin_cli.encoder import Encoded, load_encoder, unit
from ettin_cli.engines import EngineSettings
from ettin_cli.engines.tokens import token_limit
from ettin_cli.errors import MissingExtraError, ModelError
from ettin_cli.hub import EMBEDDED, ModelFiles, find_model, read_json, read_modules, weights_hash
from ettin_cli.records import (
    Advance,
    Embedder,
    EmbedderCard,
    Reporter,
    no_progress,
)
from ettin_cli.settings import MINILM_ID

if TYPE_CHECKING:
    from ettin_cli.records import Floats

DOCUMENT_PROMPTS = ("document", "passage", "corpus")


def find_embedder(name: str, *, offline: bool, reporter: Reporter) -> ModelFiles:
    """Return an embedder's files; `auto` is all-MiniLM-L6-v2: packaged, else cached, else fetched.

    Raises:
        ModelError: It is not to be had, or is a reranker.
    """
    if name != "auto":
        found = find_model(name, offline=offline, reporter=reporter)
        _refuse_reranker(found)
        # An index is searched from other working folders than the one it was made in.
        is_folder = Path(name).is_dir() and name != EMBEDDED
        return replace(found, name=str(Path(name).absolute())) if is_folder else found
    try:
        return find_model(EMBEDDED, offline=offline, reporter=reporter)
    except MissingExtraError as missing:
        try:
            return find_model(MINILM_ID, offline=offline, reporter=reporter)
        except ModelError as error:
            raise ModelError(error.problem, hint=missing.hint) from error


def _refuse_reranker(files: ModelFiles) -> None:
    settings = read_json(files.folder / "config_sentence_transformers.json", default={})
    classes = read_json(files.folder / "config.json", default={}).get("architectures") or [""]
    if settings.get("model_type") == "CrossEncoder" or classes[0].endswith("Classification"):
        raise ModelError(f"{files.name} is a reranker, not an embedder", hint="--embedder auto")


def read_card(files: ModelFiles, max_length: int | None = None) -> EmbedderCard:
    """Return what an index must remember of an embedder, without loading it.

    Args:
        max_length: A lower cap on tokens than the model's own.
    """
    folder = files.folder
    settings = read_json(folder / "config_sentence_transformers.json", default={})
    prompts = settings.get("prompts") or {}
    documents = (prompts.get(name) for name in DOCUMENT_PROMPTS)
    most = token_limit(folder)
    return EmbedderCard(
        name=files.name,
        revision=files.revision,
        weights=weights_hash(folder),
        dimension=_dimension(folder),
        max_tokens=min(most, max_length) if max_length else most,
        query_prompt=prompts.get("query") or "",
        document_prompt=next((prompt for prompt in documents if prompt is not None), ""),
    )


def _dimension(folder: Path) -> int:
    names = ("out_features", "embedding_dimension", "word_embedding_dimension")
    for module in reversed(read_modules(folder)):
        if module["path"]:
            config = read_json(folder / module["path"] / "config.json", default={})
            if found := next((config[name] for name in names if name in config), None):
                return int(found) * _poolings(config)
    return int(read_json(folder / "config.json", default={}).get("hidden_size", 0))


def _poolings(config: dict[str, Any]) -> int:
    """Return how many poolings of the tokens stand side by side in a vector."""
    modes = config.get("pooling_mode", ())
    if isinstance(modes, str):
        return 1
    older = sum(bool(on) for name, on in config.items() if name.startswith("pooling_mode_"))
    return len(modes) or older or 1


class _Embedder:
    def __init__(
        self, files: ModelFiles, card: EmbedderCard, settings: EngineSettings, reporter: Reporter
    ) -> None:
        self.card, self.reporter = card, reporter
        self.encoder = load_encoder(files.folder, card.max_tokens, settings, reporter)
        self.engine = self.encoder.engine

    def embed_queries(self, texts: Sequence[str]) -> Floats:
        """Return unit vectors, shape (len(texts), dimension)."""
        prompt = self.card.query_prompt
        long = sum(self.encoder.token_ids([prompt + text for text in texts])[1])
        if long:
            self.reporter.notice(
                f"{long} queries are longer than the {self.card.max_tokens} tokens that "
                f"{self.card.name} reads; what is beyond them does not count for retrieval"
            )
        return self._embed(texts, prompt, no_progress)

    def embed_documents(self, texts: Sequence[str], advance: Advance = no_progress) -> Floats:
        """Return unit vectors, shape (len(texts), dimension)."""
        return self._embed(texts, self.card.document_prompt, advance)

    def _embed(self, texts: Sequence[str], prompt: str, advance: Advance) -> Floats:
        import numpy as np

        vectors = np.empty((len(texts), self.card.dimension), np.float32)

        def keep(batch: list[int], output: Encoded) -> None:
            dimension = output.vectors.shape[1]
            if dimension != self.card.dimension:
                raise ModelError(
                    f"{self.card.name} gives vectors of {dimension} dimensions, where its "
                    f"files say {self.card.dimension}"
                )
            vectors[batch] = unit(output.vectors)

        ids = self.encoder.token_ids([prompt + text for text in texts])[0]
        self.encoder.encode(ids, keep, advance, prompt=prompt)
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
