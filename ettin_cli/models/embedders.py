"""Texts -> unit vectors, with any sentence-transformers model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ettin_cli.errors import InvalidArgumentError, MissingExtraError, ModelError
from ettin_cli.models.encoders import Encoded, in_windows, shared_encoder, unit
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.engines.static import static_table
from ettin_cli.models.engines.tokens import static_part, token_limit
from ettin_cli.models.engines.torch_devices import sharing_devices
from ettin_cli.models.engines.weights import Weights
from ettin_cli.models.hub import EMBEDDED, ModelFiles, find_model, weights_hash
from ettin_cli.models.model_folder import read_json, read_modules, refuse_code
from ettin_cli.models.multi_vector.embedder import (
    MultiVectorEmbedder,
    multi_vector_query_limit,
    read_multi_vector_card,
)
from ettin_cli.models.multi_vector.reading import is_multi_vector, is_stanford
from ettin_cli.models.rerankers.embedded import idf_table
from ettin_cli.models.shared_embedder import CollectedTokens, SharedEmbedder
from ettin_cli.models.vector_checks import check_dimension, finite, queries_cut
from ettin_cli.records import (
    Advance,
    Embedder,
    EmbedderCard,
    Reporter,
    TextTokens,
    TokenEmbedder,
    TokenSink,
    no_progress,
)
from ettin_cli.runtime import Loaded, Lock
from ettin_cli.settings import EMBEDDERS, MINILM_ID, MINILM_SHA256, EmbedderModel

if TYPE_CHECKING:
    from ettin_cli.models.engines import Ids
    from ettin_cli.records import Flags, Floats

DOCUMENT_PROMPTS = ("document", "passage", "corpus")
AUTO = ("auto", "minilm")
# Token vectors of word pieces with a lower inverse document frequency are not stored: the weights
# of a query leave little to them. Chosen by benchmarks/token_vectors.py.
LEAST_IDF = 3.0
# The query prompt of an embedder that takes instructions (Wang et al. 2024, arXiv:2401.00368).
INSTRUCTION = re.compile(r"(Instruct: ).*(\nQuery: ?)", re.DOTALL)


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
    if is_multi_vector(files.folder):
        return
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
    folder, full = files.folder, _dimension(files.folder)
    if dimensions is not None and not 1 <= dimensions <= full:
        raise InvalidArgumentError(
            f"vectors of {files.name} have {full} dimensions, so {dimensions} cannot be kept",
            argument="dimensions",
            value=dimensions,
            most=full,
            valid=full if is_multi_vector(folder) else f"1 to {full}",
        )
    if is_multi_vector(folder):
        return read_multi_vector_card(files, full, max_length, dimensions)
    query, document = _prompts(files)
    most = token_limit(folder)
    return EmbedderCard(
        name=files.name,
        revision=files.revision,
        weights=weights_hash(folder),
        dimension=dimensions or full,
        max_tokens=min(most, max_length) if max_length else most,
        query_prompt=query,
        document_prompt=document,
    )


def token_dimension(files: ModelFiles, card: EmbedderCard) -> int | None:
    """Return the dimension of the token vectors that an index may store; None if it has none.

    Args:
        card: The embedder as the index uses it; with fewer dimensions or tokens than the model's
            own, its texts are not those that a reranker compares.
    """
    own = read_card(files)
    if (card.dimension, card.max_tokens) != (own.dimension, own.max_tokens):
        return None
    has_tokens = own.weights == MINILM_SHA256 or is_multi_vector(files.folder)
    return own.dimension if has_tokens else None


def with_tokens(embedder: Embedder) -> TokenEmbedder:
    """Return an embedder that has token vectors, as `token_dimension` said."""
    assert isinstance(embedder, _Embedder | MultiVectorEmbedder | SharedEmbedder)
    return embedder


def _prompts(files: ModelFiles) -> tuple[str, str]:
    """Return the prompts of queries and passages, from the model's own files or as published."""
    settings = read_json(files.folder / "config_sentence_transformers.json", default={})
    own = settings.get("prompts") or {}
    documents = [own[name] for name in DOCUMENT_PROMPTS if own.get(name) is not None]
    if not own.get("query") and not any(documents) and (model := known_embedder(files)):
        return model.query_prompt, model.document_prompt
    return own.get("query") or "", next(iter(documents), "")


def instructed(card: EmbedderCard, instruction: str) -> EmbedderCard:
    """Return the card of an embedder that is told something else, if it takes instructions."""
    match = INSTRUCTION.fullmatch(card.query_prompt)
    return replace(card, query_prompt=f"{match[1]}{instruction}{match[2]}") if match else card


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
    if is_stanford(folder):
        return int(Weights(folder)["linear.weight"].shape[0])
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
        self.at_once: int = getattr(self.encoder, "at_once", 1)

    def __repr__(self) -> str:
        return f"<ettin embedder {self.card.name} on {self.backend}>"

    def embed_queries(self, texts: Sequence[str]) -> Floats:
        """Return unit vectors, shape (len(texts), dimension)."""
        prompt = self.card.query_prompt
        if long := self.cut(texts):
            self.reporter.notice(queries_cut(long, self.card.name, self.card.max_tokens))
        return self._embed(texts, prompt, no_progress)[0]

    def cut(self, queries: Sequence[str]) -> int:
        """Return how many of some queries are truncated."""
        prompt = self.card.query_prompt
        return sum(self.encoder.token_ids([prompt + text for text in queries])[1])

    def embed_documents(self, texts: Sequence[str], advance: Advance = no_progress) -> Floats:
        """Return unit vectors, shape (len(texts), dimension)."""
        return self._embed(texts, self.card.document_prompt, advance)[0]

    def embed_tokens(
        self, texts: Sequence[str], sink: TokenSink, advance: Advance = no_progress
    ) -> tuple[Floats, Flags]:
        """Return the vectors of `embed_documents`, and which texts were truncated."""
        return self._embed(texts, self.card.document_prompt, advance, sink)

    def _embed(
        self, texts: Sequence[str], prompt: str, advance: Advance, sink: TokenSink | None = None
    ) -> tuple[Floats, Flags]:
        import numpy as np

        vectors, cut = np.empty((len(texts), self.card.dimension), np.float32), list[bool]()
        turn = Lock()

        def embedded(part: Sequence[int], advance: Advance) -> list[bool]:
            ids, cut = self.encoder.token_ids([prompt + texts[at] for at in part])

            def keep(batch: list[int], output: Encoded) -> None:
                check_dimension(output.vectors, self.full_dimension, self.card.name)
                own = unit(output.vectors[:, : self.card.dimension])
                vectors[[part[at] for at in batch]] = own
                if sink is not None and output.tokens is not None:
                    for row, at in enumerate(batch):
                        tokens = unit(output.tokens[row, : len(ids[at].ids)])
                        with turn:
                            sink(part[at], TextTokens(tokens, _worth_storing(ids[at].ids)))

            self.encoder.encode(ids, keep, advance, prompt=prompt, tokens=sink is not None)
            return cut

        for flags in in_windows(self.encoder, range(len(texts)), embedded, advance):
            cut += flags
        return finite(vectors, self.card.name), np.array(cut, np.bool_)


def _worth_storing(ids: Ids | Sequence[int]) -> Flags:
    """Return which word pieces of a text are rare enough to store; [CLS] and [SEP] always are."""
    import numpy as np

    kept: Flags = idf_table()[np.asarray(ids)] >= LEAST_IDF
    return kept


def query_limit(files: ModelFiles, card: EmbedderCard) -> int:
    """Return the number of tokens that an embedder reads of a query."""
    folder = files.folder
    return multi_vector_query_limit(folder) if is_multi_vector(folder) else card.max_tokens


def _on_device(
    files: ModelFiles,
    card: EmbedderCard,
    settings: EngineSettings,
    device: str,
    reporter: Reporter,
) -> CollectedTokens:
    alone = replace(settings, device=device, devices=(), every_gpu=False)
    return CollectedTokens(with_tokens(load_embedder(files, alone, reporter, card)))


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
    # A static embedder takes less time to compute than to share.
    if not static_part(files.folder) and (devices := sharing_devices(settings, reporter)):
        shared = replace(settings, devices=devices)
        return SharedEmbedder(partial(_on_device, files, used, shared), used, shared, reporter)
    kind = MultiVectorEmbedder if is_multi_vector(files.folder) else _Embedder
    return kind(files, used, settings, reporter, loaded or Loaded())
