"""Forward passes of an encoder over many texts, for embedding and late interaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from ettin_cli.errors import ModelError
from ettin_cli.models.engines.assembling import TokenIds
from ettin_cli.models.engines.library_tokens import LibraryTokens
from ettin_cli.models.engines.onnx_export import TOKENS, VECTORS, write_encoder
from ettin_cli.models.engines.onnx_model import OnnxModel
from ettin_cli.models.engines.registry import load_model
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.engines.static import StaticModel
from ettin_cli.models.engines.tokens import Tokens, static_part
from ettin_cli.models.engines.torch_attention import repadded
from ettin_cli.models.engines.torch_runtime import Placement, run
from ettin_cli.models.model_folder import refuse_code
from ettin_cli.records import Advance, Reporter, no_progress
from ettin_cli.runtime import Loaded

if TYPE_CHECKING:
    from ettin_cli.records import Floats

R = TypeVar("R")
T = TypeVar("T")

STATIC_BATCH = 256


class Encoded(NamedTuple):
    """An encoder's output for a batch of texts.

    Args:
        vectors: Pooled vectors, one row per text, not normalised.
        tokens: Token vectors, shape (texts, tokens, hidden), with padding at the end; None if not
            requested.
    """

    vectors: Floats
    tokens: Floats | None


EncodedSink = Callable[[list[int], Encoded], None]


class Encoder(Protocol):
    """A sentence-transformers model, run on batches bounded by tokens."""

    @property
    def backend(self) -> str:
        """The runtime, device and dtype, as shown in results."""
        ...

    def token_ids(self, texts: Sequence[str]) -> tuple[Sequence[TokenIds], list[bool]]:
        """Return each text's tokens, truncated at the limit, and whether they were truncated."""
        ...

    def encode(
        self,
        texts: Sequence[TokenIds],
        sink: EncodedSink,
        advance: Advance = no_progress,
        *,
        prompt: str = "",
        tokens: bool = False,
    ) -> None:
        """Pass `sink` the model's outputs for batches of positions in `texts`.

        Args:
            prompt: The common prefix of all texts; some models exclude it from pooling.
            tokens: Whether token vectors are requested.
        """
        ...


class OnnxEncoder:
    """An encoder that needs no torch.

    Args:
        max_tokens: Token limit beyond which texts are truncated, special tokens included.
    """

    def __init__(self, folder: Path, max_tokens: int, model: OnnxModel) -> None:
        self.model = model
        self.backend = model.backend
        self.token_ids = Tokens(folder, max_tokens).of_texts

    def encode(
        self,
        texts: Sequence[TokenIds],
        sink: EncodedSink,
        advance: Advance = no_progress,
        *,
        prompt: str = "",
        tokens: bool = False,
    ) -> None:
        """Pass `sink` the model's outputs for batches of positions in `texts`."""

        def keep(batch: list[int], outputs: list[Floats]) -> None:
            sink(batch, Encoded(outputs[0], outputs[1] if tokens else None))

        self.model.run(texts, [VECTORS, TOKENS] if tokens else [VECTORS], keep, advance)


class StaticEncoder:
    """An embedder that looks up token vectors; it has no contextual token vectors."""

    def __init__(self, model: StaticModel) -> None:
        self.model = model
        self.backend = model.backend
        self.token_ids = model.token_ids

    def encode(
        self,
        texts: Sequence[TokenIds],
        sink: EncodedSink,
        advance: Advance = no_progress,
        *,
        prompt: str = "",
        tokens: bool = False,
    ) -> None:
        """Pass `sink` the model's outputs for batches of positions in `texts`."""
        for begin in range(0, len(texts), STATIC_BATCH):
            batch = list(range(begin, min(begin + STATIC_BATCH, len(texts))))
            sink(batch, Encoded(self.model.vectors([texts[at] for at in batch]), None))
            advance(len(batch))


class TorchEncoder:
    """An encoder run by sentence-transformers, on any device.

    Args:
        folder: The model's folder.
        max_tokens: Token limit beyond which texts are truncated, special tokens included.

    Raises:
        ModelError: It is not a transformer, or cannot be loaded.
    """

    def __init__(self, folder: Path, max_tokens: int, placement: Placement) -> None:
        from sentence_transformers import SentenceTransformer

        self.folder = folder
        self.placement = placement
        self.max_tokens = max_tokens
        self.model = placement.load(SentenceTransformer, folder)
        # Loading may change the dtype.
        self.backend, self.at_once = placement.backend, placement.at_once
        self.tokenizer = self.model.tokenizer
        if not hasattr(self.tokenizer, "pad"):
            raise ModelError(f"{folder} is not a transformer, and such embedders are not supported")
        self.tokens = LibraryTokens(self.tokenizer, max_tokens)
        self.token_ids = self.tokens.of_texts

    def encode(
        self,
        texts: Sequence[TokenIds],
        sink: EncodedSink,
        advance: Advance = no_progress,
        *,
        prompt: str = "",
        tokens: bool = False,
    ) -> None:
        """Pass `sink` the model's outputs for batches of positions in `texts`."""
        extra = {"prompt_length": self._prompt_length(prompt)} if prompt else {}

        def forward(batch: list[int]) -> None:
            features = self.placement.features(self.model, [texts[at] for at in batch])
            with self.placement.turn:
                output = self.model({**features, **extra})
            if VECTORS not in output:
                raise ModelError(f"{self.folder} gives no vector for a text: it has no pooling")
            of_tokens = _array(_token_vectors(output)) if tokens else None
            sink(batch, Encoded(_array(output[VECTORS]), of_tokens))

        run([len(text.ids) for text in texts], forward, self.placement, advance)

    def _prompt_length(self, prompt: str) -> int:
        """Return the number of tokens that a prompt takes at the start of a text."""
        with self.tokens.turn:
            ids = self.tokenizer(prompt)["input_ids"]
        return len(ids) - (ids[-1] in self.tokenizer.all_special_ids)


def _token_vectors(output: Mapping[str, Any]) -> Any:
    begins = output.get("cu_seq_lens_q")
    return output[TOKENS] if begins is None else repadded(output[TOKENS], begins)


def _array(values: Any) -> Floats:
    array: Floats = values.float().cpu().numpy()
    return array


def in_windows(
    encoder: object,
    texts: Sequence[T],
    work: Callable[[Sequence[T], Advance], R],
    advance: Advance = no_progress,
) -> Iterator[R]:
    """Yield the results for windows of texts, which threads work on if the encoder uses a GPU."""
    if isinstance(encoder, TorchEncoder):
        return encoder.placement.windows(texts, work, advance)
    return iter([work(texts, advance)])


def unit(vectors: Floats) -> Floats:
    """Return vectors normalised along the last axis; zero vectors are unchanged."""
    import numpy as np

    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    normalised: Floats = vectors / np.maximum(lengths, 1e-12)
    return normalised


def shared_encoder(
    folder: Path, max_tokens: int, settings: EngineSettings, reporter: Reporter, loaded: Loaded
) -> Encoder:
    """Return the encoder of a folder, loaded once for all users of `loaded`.

    Raises:
        ModelError: It cannot be loaded, or needs custom code that is not trusted.
    """
    key = "encoder", folder, max_tokens, replace(settings, max_length=None)
    return loaded.once(key, lambda: load_encoder(folder, max_tokens, settings, reporter))


def load_encoder(
    folder: Path, max_tokens: int, settings: EngineSettings, reporter: Reporter
) -> Encoder:
    """Load the encoder of a folder.

    Raises:
        ModelError: It cannot be loaded, or needs custom code that is not trusted.
    """
    if not settings.trust_remote_code:
        # Checked before anything is reported; `load_model` checks again.
        refuse_code(folder)
    if static_part(folder):
        reporter.detail("static embedders run on the CPU, whatever the device")
        return StaticEncoder(StaticModel(folder, max_tokens))
    if not (folder / "modules.json").is_file():
        reporter.notice(f"{folder} defines no pooling, so token vectors are averaged")
    return load_model(
        folder,
        settings,
        reporter,
        write_encoder,
        lambda folder, model: OnnxEncoder(folder, max_tokens, model),
        lambda folder, placement: TorchEncoder(folder, max_tokens, placement),
    )
