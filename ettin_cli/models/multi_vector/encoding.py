"""Forward passes of a multi-vector model over queries and texts, with ONNX Runtime or torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ettin_cli.errors import ModelError
from ettin_cli.models.engines.assembling import TokenIds
from ettin_cli.models.engines.boundaries import LongTexts
from ettin_cli.models.engines.graph import UnsupportedModelError
from ettin_cli.models.engines.modernbert import MODERNBERT, local_reach
from ettin_cli.models.engines.onnx_export import TOKENS, WrittenModel, write_multi_vector
from ettin_cli.models.engines.onnx_model import OnnxModel
from ettin_cli.models.engines.registry import load_model
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.engines.tokens import NO_LIMIT, Tokens
from ettin_cli.models.engines.torch_attention import packed
from ettin_cli.models.engines.torch_inputs import on_device
from ettin_cli.models.engines.torch_runtime import Placement, run
from ettin_cli.models.model_folder import read_json, read_modules
from ettin_cli.models.multi_vector.reading import MEAN, NATIVE, Reading, read_reading
from ettin_cli.models.rerankers.maxsim import QueryVectors, TextSink, TextVectors, TokenEncoder
from ettin_cli.records import Advance, Reporter
from ettin_cli.runtime import TOKENIZERS, Loaded, Lock, hold_to_one_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from ettin_cli.records import Flags, Floats

QUERY, DOCUMENT = "query", "document"


class MultiVectorEncoder(TokenEncoder, Protocol):
    """A multi-vector model's encoder, which reads queries and texts differently."""

    def queries_cut(self, queries: Sequence[str]) -> Flags:
        """Return which queries are truncated."""
        ...


class OnnxTokenEncoder:
    """A multi-vector model that runs without torch."""

    def __init__(self, folder: Path, model: OnnxModel) -> None:
        self.model, self.backend = model, model.backend
        self.reading = reading = read_reading(folder)
        asked = model.settings.max_length
        self.max_tokens = min(reading.document_tokens, asked or reading.document_tokens)
        self.of_queries = Tokens(folder, reading.query_tokens)
        self.of_texts = Tokens(folder, self.max_tokens)
        for tokens in (self.of_queries, self.of_texts):
            register_markers(tokens.tokenizer, reading.markers)
        self.skipped = _ids(self.of_texts, reading.skipped)
        self.mask = expansion_id(folder, reading)

    def queries(self, queries: Sequence[str]) -> tuple[list[QueryVectors], Flags]:
        """Return each query's vectors, and which queries were truncated."""
        import numpy as np

        vectors: dict[int, QueryVectors] = {}
        ids, cut = self.of_queries.of_texts(
            [self.reading.query_prompt + query for query in queries]
        )
        expanded = [self._expanded(tokens) for tokens in ids]

        def keep(at: int, tokens: Floats) -> None:
            vectors[at] = _weighted(tokens, mean=self.reading.mean)

        self._run(expanded, QUERY, keep)
        return [vectors[at] for at in range(len(queries))], np.array(cut, np.bool_)

    def texts(self, texts: Sequence[str], sink: TextSink) -> Flags:
        """Pass `sink` each text's position and vectors; return which texts were truncated."""
        import numpy as np

        ids, cut = self.of_texts.of_texts([self.reading.document_prompt + text for text in texts])
        self._run(ids, DOCUMENT, lambda at, tokens: sink(at, TextVectors(tokens)))
        return np.array(cut, np.bool_)

    def queries_cut(self, queries: Sequence[str]) -> Flags:
        """Return which queries are truncated."""
        import numpy as np

        prompted = [self.reading.query_prompt + query for query in queries]
        return np.array(self.of_queries.of_texts(prompted)[1], np.bool_)

    def _expanded(self, query: TokenIds) -> TokenIds:
        """Pad a query with mask tokens (query expansion)."""
        expansion = self.reading.expansion
        if expansion is None or self.mask is None:
            return query
        missing = max(0, expansion.length - len(query.ids))
        attended = None if expansion.attend else len(query.ids)
        return TokenIds([*query.ids, *([self.mask] * missing)], [], attended)

    def _run(
        self, texts: Sequence[TokenIds], side: str, sink: Callable[[int, Floats], None]
    ) -> None:
        import numpy as np

        skipped = self.skipped if side in self.reading.skipped_in else []
        kept = self.reading.kept if side == DOCUMENT else ()

        def pick(batch: list[int], outputs: list[Floats]) -> None:
            for row, at in enumerate(batch):
                ids = np.array(texts[at].ids)
                counts = ~np.isin(ids, skipped)
                if kept:
                    counts &= np.isin(ids, kept)
                sink(at, outputs[0][row, : len(ids)][counts])

        self.model.run(texts, [TOKENS], pick)


def _weighted(tokens: Floats, *, mean: bool) -> QueryVectors:
    import numpy as np

    weight = 1 / max(1, len(tokens)) if mean else 1
    return QueryVectors(tokens, np.full(len(tokens), weight, np.float32))


def register_markers(tokenizer: Any, markers: Sequence[str]) -> None:
    """Make a tokenizer read its marker tokens as one token each, as in training.

    Training inserted them by id; tokenized as text some would be split.
    """
    from tokenizers import AddedToken

    for marker in filter(str.strip, markers):
        beginnings = marker, marker.split()[0]
        known = [form for form in beginnings if tokenizer.token_to_id(form) is not None]
        if known and tokenizer.encode(known[0], add_special_tokens=False).tokens != known[:1]:
            tokenizer.add_special_tokens([AddedToken(known[0], normalized=False, special=True)])


def _ids(tokens: Tokens, words: Sequence[str]) -> list[int]:
    """Return the ids of those words that are single tokens."""
    ids = [tokens.tokenizer.token_to_id(word) for word in words]
    return [number for number in ids if number is not None]


def expansion_id(folder: Path, reading: Reading) -> int | None:
    """Return the id of the token that pads queries; None if they are not padded.

    Raises:
        UnsupportedModelError: The token is unknown, or would not follow the query.
    """
    if reading.expansion is None:
        return None
    settings = read_json(folder / "tokenizer_config.json", default={})
    named = {**read_json(folder / "special_tokens_map.json", default={}), **settings}
    token = reading.expansion.token or named.get("mask_token") or named.get("eos_token")
    name = token.get("content") if isinstance(token, dict) else token
    token_id = Tokens(folder, 1).tokenizer.token_to_id(str(name)) if name else None
    if token_id is None:
        raise UnsupportedModelError(f"query expansion with {name}")
    if settings.get("padding_side", "right") != "right":
        raise UnsupportedModelError("query expansion on the left")
    return int(token_id)


class TorchTokenEncoder:
    """A multi-vector model run by sentence-transformers, on any device.

    Raises:
        ModelError: It cannot be loaded, or uses a chat template.
    """

    def __init__(self, folder: Path, placement: Placement) -> None:
        from sentence_transformers import MultiVectorEncoder

        self.folder, self.placement = folder, placement
        self.model = placement.load(MultiVectorEncoder, folder)
        # Loading may change the dtype.
        self.backend, self.at_once = placement.backend, min(2, placement.at_once)
        self.trunk, self.tokenizer = self.model[0], self.model.tokenizer
        # Truncation is state of the tokenizer, so threads take turns.
        self.turn = Lock()
        self.long_texts = LongTexts.of_transformers(self.tokenizer)
        settings = read_json(folder / "config_sentence_transformers.json", default={})
        if settings.get("model_type") != NATIVE:
            # Such models were trained on plain text, even if their tokenizer has a template.
            self.trunk.modality_config.pop("message", None)
        if "text" not in self.trunk.modality_config or "message" in self.trunk.modality_config:
            raise ModelError(f"{folder} uses a chat template, which is not supported")
        own = min(self.tokenizer.model_max_length, NO_LIMIT)
        asked = placement.settings.max_length
        self.max_tokens = min(self.trunk.document_length or own, asked or own)
        self.trunk.document_length = self.max_tokens
        expansion = self.trunk.query_expansion or {"strategy": None, "length": 0}
        self.query_tokens = max(self.trunk.query_length or own, expansion["length"])
        if expansion["strategy"] == "fixed":
            self.query_tokens = expansion["length"]

    def queries(self, queries: Sequence[str]) -> tuple[list[QueryVectors], Flags]:
        """Return each query's vectors, and which queries were truncated."""
        vectors: dict[int, QueryVectors] = {}
        mean = self.model.similarity_fn_name == MEAN

        def keep(at: int, tokens: Floats) -> None:
            vectors[at] = _weighted(tokens, mean=mean)

        cut = self._run(queries, QUERY, self.query_tokens, keep)
        return [vectors[at] for at in range(len(queries))], cut

    def texts(self, texts: Sequence[str], sink: TextSink) -> Flags:
        """Pass `sink` each text's position and vectors; return which texts were truncated."""
        return self._run(
            texts, DOCUMENT, self.max_tokens, lambda at, tokens: sink(at, TextVectors(tokens))
        )

    def queries_cut(self, queries: Sequence[str]) -> Flags:
        """Return which queries are truncated."""
        import numpy as np

        prompt, limit = self.model.prompts.get(QUERY) or "", self.query_tokens
        with self.turn:
            prompted = self.long_texts.beginnings([prompt + text for text in queries], limit)
            lengths = self._lengths(prompted)
        return np.array([length > limit for length in lengths], np.bool_)

    def _run(
        self, texts: Sequence[str], side: str, limit: int, sink: Callable[[int, Floats], None]
    ) -> Flags:
        import numpy as np

        turn = Lock()

        def encoded(part: Sequence[int], advance: Advance) -> list[bool]:
            def keep(at: int, tokens: Floats) -> None:
                with turn:
                    sink(part[at], tokens)

            return self._window([texts[at] for at in part], side, limit, keep, advance)

        windows = self.placement.windows(range(len(texts)), encoded)
        return np.array([flag for flags in windows for flag in flags], np.bool_)

    def _window(
        self,
        texts: Sequence[str],
        side: str,
        limit: int,
        sink: Callable[[int, Floats], None],
        advance: Advance,
    ) -> list[bool]:
        hold_to_one_thread(TOKENIZERS)
        prompt = self.model.prompts.get(side) or ""
        with self.turn:
            prompted = self.long_texts.beginnings([prompt + text for text in texts], limit)
            lengths = self._lengths(prompted)

        def forward(batch: list[int]) -> None:
            read = [prompted[at][len(prompt) :] for at in batch]
            with self.turn:
                features = self.model.preprocess(read, prompt=prompt, task=side)
            features = packed(self.model, features)
            with self.placement.turn:
                output = self.model(on_device(features, self.placement.device), task=side)
            vectors, counts = output[TOKENS].float().cpu(), output["attention_mask"].bool().cpu()
            for row, at in enumerate(batch):
                sink(at, vectors[row][counts[row]].numpy())

        run([min(length, limit) for length in lengths], forward, self.placement, advance)
        return [length > limit for length in lengths]

    def _lengths(self, texts: Sequence[str]) -> list[int]:
        if not texts:
            return []
        read = self.tokenizer(list(texts), truncation=False, verbose=False)["input_ids"]
        return [len(ids) for ids in read]


def _write(folder: Path, *, plain: bool = False) -> WrittenModel:
    """Write a model as a graph, if its queries can be tokenized without torch too."""
    reading = read_reading(folder)
    expansion_id(folder, reading)
    masked = any(module["type"].endswith("MultiVectorMask") for module in read_modules(folder))
    if masked != reading.native:
        raise UnsupportedModelError("a mixture of two libraries' settings")
    config = read_json(folder / "config.json", default={})
    window = local_reach(config) if config.get("model_type") == MODERNBERT else 0
    expansion = reading.expansion
    if expansion and not expansion.attend and window and expansion.length > window:
        # Expansion tokens farther away than the window would have nothing to attend to.
        raise UnsupportedModelError("query expansion beyond the attention window")
    return write_multi_vector(folder, plain=plain)


def shared_token_encoder(
    folder: Path, settings: EngineSettings, reporter: Reporter, loaded: Loaded
) -> MultiVectorEncoder:
    """Return the multi-vector model of a folder, loaded once for all users of `loaded`.

    Raises:
        ModelError: It cannot be loaded, or needs custom code that is not trusted.
    """
    own = read_reading(folder).document_tokens
    limited = replace(settings, max_length=min(own, settings.max_length or own))
    key = "token encoder", folder, limited
    return loaded.once(key, lambda: load_token_encoder(folder, limited, reporter))


def load_token_encoder(
    folder: Path, settings: EngineSettings, reporter: Reporter
) -> MultiVectorEncoder:
    """Load a multi-vector model.

    Raises:
        ModelError: It cannot be loaded, or needs custom code that is not trusted.
    """
    return load_model(folder, settings, reporter, _write, OnnxTokenEncoder, TorchTokenEncoder)
