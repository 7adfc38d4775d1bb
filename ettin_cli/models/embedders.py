"""Texts -> unit vectors, by any sentence-transformers model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ettin_cli.errors import InvalidArgumentError, MissingExtraError, ModelError
from ettin_cli.models.encoders import Encoded, shared_encoder, unit
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.engines.static import static_table
from ettin_cli.models.engines.tokens import static_part, token_limit
from ettin_cli.models.hub import (
    EMBEDDED,
    ModelFiles,
    find_model,
    read_json,
    read_modules,
    refuse_code,
    weights_hash,
)
from ettin_cli.records import Advance, Embedder, EmbedderCard, Reporter, no_progress
from ettin_cli.runtime import Loaded
from ettin_cli.settings import EMBEDDERS, MINILM_ID, EmbedderModel

if TYPE_CHECKING:
    from ettin_cli.records import Floats

DOCUMENT_PROMPTS = ("document", "passage", "corpus")
AUTO = ("auto", "minilm")


def find_embedder(name: str, *, offline: bool, reporter: Reporter) -> ModelFiles:
    """Return an embedder's files; `auto` is all-MiniLM-L6-v2: packaged, else cached, else fetched.

    Args:
        name: `auto`, an alias, `embedded`, a hub id, or a folder.

    Raises:
        ModelError: It is not to be had, or is a reranker.
    """
    if name not in AUTO:
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
            raise ModelError(error.problem, code=missing.code, **missing.fields) from error


def _refuse_reranker(files: ModelFiles) -> None:
    settings = read_json(files.folder / "config_sentence_transformers.json", default={})
    classes = read_json(files.folder / "config.json", default={}).get("architectures") or [""]
    if settings.get("model_type") == "CrossEncoder" or classes[0].endswith("Classification"):
        raise ModelError(
            f"{files.name} is a reranker, not an embedder",
            code="not-an-embedder",
            name=files.name,
        )


def read_card(
    files: ModelFiles, max_length: int | None = None, dimensions: int | None = None
) -> EmbedderCard:
    """Return what an index must remember of an embedder, without loading it.

    Args:
        max_length: A lower cap on tokens than the model's own.
        dimensions: How many of a vector's are kept, the first ones; None: all.

    Raises:
        InvalidArgumentError: It does not have so many dimensions.
    """
    folder = files.folder
    most, whole = token_limit(folder), _dimension(folder)
    if dimensions is not None and not 1 <= dimensions <= whole:
        raise InvalidArgumentError(
            f"{files.name} gives vectors of {whole} dimensions, so {dimensions} cannot be kept",
            argument="dimensions",
            value=dimensions,
            most=whole,
        )
    query, document = _prompts(files)
    return EmbedderCard(
        name=files.name,
        revision=files.revision,
        weights=weights_hash(folder),
        dimension=dimensions or whole,
        max_tokens=min(most, max_length) if max_length else most,
        query_prompt=query,
        document_prompt=document,
    )


def _prompts(files: ModelFiles) -> tuple[str, str]:
    """Return what goes before queries and passages: by the model's own files, else as published."""
    settings = read_json(files.folder / "config_sentence_transformers.json", default={})
    own = settings.get("prompts") or {}
    documents = [own[name] for name in DOCUMENT_PROMPTS if own.get(name) is not None]
    if not own.get("query") and not any(documents) and (model := known_embedder(files)):
        return model.query_prompt, model.document_prompt
    return own.get("query") or "", next(iter(documents), "")


def known_embedder(files: ModelFiles) -> EmbedderModel | None:
    """Return what is known beforehand of an embedder that comes from the hub."""
    return next((model for model in EMBEDDERS.values() if model.hub_id == files.name), None)


def check_trust(files: ModelFiles, settings: EngineSettings) -> None:
    """Make sure that an embedder runs code of its own only where the user trusts that.

    Raises:
        ModelError: It needs code from elsewhere.
    """
    if settings.trust_remote_code:
        return
    refuse_code(files.folder)
    if (model := known_embedder(files)) and model.own_code:
        raise ModelError(
            f"{files.name} runs code of its own", code="untrusted-code", model=files.name
        )


def note_dimensions(files: ModelFiles, dimensions: int, reporter: Reporter) -> None:
    """Say that an embedder was not trained to keep its meaning in so few dimensions.

    Those that were put what matters most first (Kusupati et al. 2022, Matryoshka).
    """
    if dimensions == _dimension(files.folder):
        return
    model = known_embedder(files)
    trained = model.matryoshka if model else ()
    if dimensions in trained:
        return
    told = f"was trained for {', '.join(map(str, trained))} dimensions"
    if not trained:
        told = "is not known to be trained for fewer dimensions than it has"
    reporter.notice(f"{files.name} {told}; evaluate what keeping {dimensions} costs")


def _dimension(folder: Path) -> int:
    if static_part(folder):
        return int(static_table(folder).shape[1])
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
        self,
        files: ModelFiles,
        card: EmbedderCard,
        settings: EngineSettings,
        reporter: Reporter,
        loaded: Loaded,
    ) -> None:
        self.card, self.reporter = card, reporter
        self.whole = _dimension(files.folder)
        self.encoder = shared_encoder(files.folder, card.max_tokens, settings, reporter, loaded)
        self.engine = self.encoder.backend

    def embed_queries(self, texts: Sequence[str]) -> Floats:
        """Return unit vectors, shape (len(texts), dimension)."""
        prompt = self.card.query_prompt
        long = sum(self.encoder.token_ids([prompt + text for text in texts])[1])
        if long:
            queries = "1 query is" if long == 1 else f"{long} queries are"
            self.reporter.notice(
                f"{queries} longer than the {self.card.max_tokens} tokens that "
                f"{self.card.name} reads; what is beyond them is not embedded"
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
            if dimension != self.whole:
                raise ModelError(
                    f"{self.card.name} gives vectors of {dimension} dimensions, where its "
                    f"files say {self.whole}",
                    code="model-incomplete",
                )
            vectors[batch] = unit(output.vectors[:, : self.card.dimension])

        ids = self.encoder.token_ids([prompt + text for text in texts])[0]
        self.encoder.encode(ids, keep, advance, prompt=prompt)
        if not np.isfinite(vectors).all():
            raise ModelError(
                f"{self.card.name} gave a vector that is not finite",
                code="not-a-number",
                name=self.card.name,
            )
        return vectors


def load_embedder(
    files: ModelFiles,
    settings: EngineSettings,
    reporter: Reporter,
    card: EmbedderCard | None = None,
    loaded: Loaded | None = None,
) -> Embedder:
    """Load an embedder.

    Args:
        card: What an index remembers of it, which it is then used by; None: what its files say.
        loaded: What it shares its model in; None: nobody.

    Raises:
        ModelError: It cannot be loaded, or not on the device that was asked for.
    """
    check_trust(files, settings)
    used = card or read_card(files, settings.max_length)
    return _Embedder(files, used, settings, reporter, loaded or Loaded())
