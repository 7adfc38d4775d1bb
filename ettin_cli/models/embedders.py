"""Texts -> unit vectors, with any sentence-transformers model."""

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
from ettin_cli.models.hub import EMBEDDED, ModelFiles, find_model, weights_hash
from ettin_cli.models.model_folder import read_json, read_modules, refuse_code
from ettin_cli.records import Advance, Embedder, EmbedderCard, Reporter, no_progress
from ettin_cli.runtime import Loaded
from ettin_cli.settings import EMBEDDERS, MINILM_ID, EmbedderModel

if TYPE_CHECKING:
    from ettin_cli.records import Floats

DOCUMENT_PROMPTS = ("document", "passage", "corpus")
AUTO = ("auto", "minilm")


def find_embedder(name: str, *, offline: bool, reporter: Reporter) -> ModelFiles:
    """Return an embedder's files; `auto` is all-MiniLM-L6-v2: packaged, cached, or downloaded.

    Args:
        name: `auto`, an alias, `embedded`, a hub id, or a folder.

    Raises:
        ModelError: It is neither cached nor downloadable, or is a reranker.
    """
    if name not in AUTO:
        files = find_model(name, offline=offline, reporter=reporter)
        _refuse_reranker(files)
        # An index may be searched from another working folder than it was built in.
        is_folder = Path(name).is_dir() and name != EMBEDDED
        return replace(files, name=str(Path(name).absolute())) if is_folder else files
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
    """Return an embedder's description for an index, without loading the model.

    Args:
        max_length: A token limit below the model's own.
        dimensions: Number of leading dimensions to keep; None: all.

    Raises:
        InvalidArgumentError: Its vectors have fewer dimensions.
    """
    folder = files.folder
    most, full = token_limit(folder), _dimension(folder)
    if dimensions is not None and not 1 <= dimensions <= full:
        raise InvalidArgumentError(
            f"vectors of {files.name} have {full} dimensions, so {dimensions} cannot be kept",
            argument="dimensions",
            value=dimensions,
            most=full,
        )
    query, document = _prompts(files)
    return EmbedderCard(
        name=files.name,
        revision=files.revision,
        weights=weights_hash(folder),
        dimension=dimensions or full,
        max_tokens=min(most, max_length) if max_length else most,
        query_prompt=query,
        document_prompt=document,
    )


def _prompts(files: ModelFiles) -> tuple[str, str]:
    """Return the prompts of queries and passages, from the model's own files or as published."""
    settings = read_json(files.folder / "config_sentence_transformers.json", default={})
    own = settings.get("prompts") or {}
    documents = [own[name] for name in DOCUMENT_PROMPTS if own.get(name) is not None]
    if not own.get("query") and not any(documents) and (model := known_embedder(files)):
        return model.query_prompt, model.document_prompt
    return own.get("query") or "", next(iter(documents), "")


def known_embedder(files: ModelFiles) -> EmbedderModel | None:
    """Return the built-in description of an embedder from the hub, if there is one."""
    return next((model for model in EMBEDDERS.values() if model.hub_id == files.name), None)


def check_trust(files: ModelFiles, settings: EngineSettings) -> None:
    """Check that an embedder runs custom code only if the user trusts it.

    Raises:
        ModelError: It needs custom code.
    """
    if settings.trust_remote_code:
        return
    refuse_code(files.folder)
    if (model := known_embedder(files)) and model.own_code:
        raise ModelError(f"{files.name} needs custom code", code="untrusted-code", model=files.name)


def note_dimensions(files: ModelFiles, dimensions: int, reporter: Reporter) -> None:
    """Warn if an embedder was not trained to be truncated to so few dimensions.

    Matryoshka training puts the most important dimensions first (Kusupati et al. 2022).
    """
    if dimensions == _dimension(files.folder):
        return
    model = known_embedder(files)
    trained = model.matryoshka if model else ()
    if dimensions in trained:
        return
    remark = f"was trained for {', '.join(map(str, trained))} dimensions"
    if not trained:
        remark = "is not known to be trained for truncated vectors"
    reporter.notice(f"{files.name} {remark}; evaluate the effect of keeping {dimensions}")


def _dimension(folder: Path) -> int:
    if static_part(folder):
        return int(static_table(folder).shape[1])
    names = ("out_features", "embedding_dimension", "word_embedding_dimension")
    for module in reversed(read_modules(folder)):
        if module["path"]:
            config = read_json(folder / module["path"] / "config.json", default={})
            if size := next((config[name] for name in names if name in config), None):
                return int(size) * _poolings(config)
    return int(read_json(folder / "config.json", default={}).get("hidden_size", 0))


def _poolings(config: dict[str, Any]) -> int:
    """Return the number of poolings that are concatenated in a vector."""
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
        self.full_dimension = _dimension(files.folder)
        self.encoder = shared_encoder(files.folder, card.max_tokens, settings, reporter, loaded)
        self.backend = self.encoder.backend

    def __repr__(self) -> str:
        return f"<ettin embedder {self.card.name} on {self.backend}>"

    def embed_queries(self, texts: Sequence[str]) -> Floats:
        """Return unit vectors, shape (len(texts), dimension)."""
        prompt = self.card.query_prompt
        if long := self.cut(texts):
            self.reporter.notice(queries_cut(long, self.card))
        return self._embed(texts, prompt, no_progress)

    def cut(self, queries: Sequence[str]) -> int:
        """Return how many of some queries are truncated."""
        prompt = self.card.query_prompt
        return sum(self.encoder.token_ids([prompt + text for text in queries])[1])

    def embed_documents(self, texts: Sequence[str], advance: Advance = no_progress) -> Floats:
        """Return unit vectors, shape (len(texts), dimension)."""
        return self._embed(texts, self.card.document_prompt, advance)

    def _embed(self, texts: Sequence[str], prompt: str, advance: Advance) -> Floats:
        import numpy as np

        vectors = np.empty((len(texts), self.card.dimension), np.float32)

        def keep(batch: list[int], output: Encoded) -> None:
            dimension = output.vectors.shape[1]
            if dimension != self.full_dimension:
                raise ModelError(
                    f"{self.card.name} returned vectors of {dimension} dimensions, but its "
                    f"files specify {self.full_dimension}",
                    code="model-incomplete",
                )
            vectors[batch] = unit(output.vectors[:, : self.card.dimension])

        ids = self.encoder.token_ids([prompt + text for text in texts])[0]
        self.encoder.encode(ids, keep, advance, prompt=prompt)
        if not np.isfinite(vectors).all():
            raise ModelError(
                f"{self.card.name} returned a vector that is not finite",
                code="not-a-number",
                name=self.card.name,
            )
        return vectors


def queries_cut(count: int, card: EmbedderCard) -> str:
    """Return the notice that some queries exceed an embedder's token limit."""
    queries = "1 query" if count == 1 else f"{count} queries"
    return (
        f"{queries} truncated at the embedder's token limit ({card.name}: {card.max_tokens} tokens)"
    )


def load_embedder(
    files: ModelFiles,
    settings: EngineSettings,
    reporter: Reporter,
    card: EmbedderCard | None = None,
    loaded: Loaded | None = None,
) -> Embedder:
    """Load an embedder.

    Args:
        card: The description in an index, which it must match; None: use its files'.
        loaded: Where to share its model; None: do not share.

    Raises:
        ModelError: It cannot be loaded, or not on the requested device.
    """
    check_trust(files, settings)
    used = card or read_card(files, settings.max_length)
    return _Embedder(files, used, settings, reporter, loaded or Loaded())
