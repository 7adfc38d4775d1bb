"""Helpers for tests of indexes: vectors, an embedder without torch, and building with it."""

import json
import zlib
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ettin_cli.index.known_vectors import as_hashes, text_hash
from ettin_cli.index.reader import Index
from ettin_cli.indexing.building import BuildReport, build_index
from ettin_cli.indexing.requests import BuildRequest
from ettin_cli.models.embedders import read_card
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.hub import ModelFiles
from ettin_cli.records import Advance, EmbedderCard, Note, Reporter, Share, Silence, no_progress
from ettin_cli.runtime.loading import Loaded
from ettin_cli.storage import Stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ettin_cli.index.known_vectors import Hashes
    from ettin_cli.records import Floats

DIMENSION = 32


def unit_vectors(rows: int, dimension: int = 16, seed: int = 5) -> "Floats":
    """Return random directions; equal arguments give equal directions."""
    vectors = np.random.default_rng(seed).standard_normal((rows, dimension), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def hashes(*texts: str) -> "Hashes":
    """Return the hashes under which the vectors of texts are stored."""
    return as_hashes(b"".join(text_hash(text) for text in texts))


def word_vector(text: str) -> "Floats":
    """Return a unit vector that counts a text's words, each at an index given by its checksum.

    Half precision represents it exactly, so that an index stores it unchanged.
    """
    vector = np.zeros(DIMENSION, np.float32)
    for word in text.lower().split():
        vector[zlib.crc32(word.strip(".,?!").encode()) % DIMENSION] += 1
    vector /= max(float(np.linalg.norm(vector)), 1e-9)
    return vector.astype(np.float16).astype(np.float32)


class WordEmbedder:
    """Embeds texts by their words, and records the texts it embedded."""

    backend = "words"

    def __init__(self, card: EmbedderCard) -> None:
        self.card = card
        self.embedded: list[str] = []

    def embed_documents(self, texts: Sequence[str], advance: Advance = no_progress) -> "Floats":
        self.embedded += texts
        advance(len(texts))
        return np.array([word_vector(text) for text in texts], np.float32)

    def embed_queries(self, texts: Sequence[str]) -> "Floats":
        return np.array([word_vector(text) for text in texts], np.float32)


class Notices(Silence):
    """A reporter that records notices."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.tracked: list[tuple[str, int | None, str]] = []
        self.advanced = 0

    def notice(self, message: str) -> None:
        self.said.append(message)

    @contextmanager
    def track(
        self,
        label: str,
        total: int | None,
        unit: str,
        share: Share | None = None,
        note: Note | None = None,
    ) -> "Iterator[Advance]":
        self.tracked.append((label, total, unit))

        def advance(done: int) -> None:
            self.advanced += done

        yield advance


def word_model(
    folder: Path, *, weights: bytes = b"words", max_tokens: int = 64, prompts: Any = None
) -> Path:
    """Write the files that indexing reads of an embedder whose tokens are words."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    (folder / "1_Pooling").mkdir(parents=True)
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "model.safetensors").write_bytes(weights)
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling")]
    modules = [{"path": path, "type": f"sentence_transformers.models.{t}"} for path, t in kinds]
    for name, value in {
        "config.json": {"hidden_size": DIMENSION},
        "modules.json": modules,
        "1_Pooling/config.json": {"word_embedding_dimension": DIMENSION},
        "sentence_bert_config.json": {"max_seq_length": max_tokens},
        "config_sentence_transformers.json": {"prompts": prompts or {}},
    }.items():
        (folder / name).write_text(json.dumps(value))
    return folder


class Builder:
    """Builds indexes with the word embedder, and records the texts it embedded."""

    def __init__(self, model: Path) -> None:
        self.model = model
        self.embedded: list[str] = []

    def load(
        self,
        files: ModelFiles,
        settings: EngineSettings,
        reporter: Reporter,
        card: EmbedderCard | None = None,
        _loaded: Loaded | None = None,
    ) -> WordEmbedder:
        loaded = WordEmbedder(card or read_card(files, settings.max_length))
        self.embedded = loaded.embedded
        return loaded

    def __call__(self, folder: Path, *sources: Path | str | Stream, **options: Any) -> BuildReport:
        self.embedded = []
        reporter = options.pop("reporter", Silence())
        if not (folder / "manifest.json").exists():
            options.setdefault("embedder", str(self.model))
        add = [source if isinstance(source, Stream) else str(source) for source in sources]
        return build_index(BuildRequest(folder, add=add, offline=True, **options), reporter)


def ferry_files(folder: Path) -> Path:
    """Write seven small documents into a new folder, and return it."""
    folder.mkdir()
    for number in range(7):
        (folder / f"{number}.txt").write_text(f"file {number} tells of ferry {number}\n")
    return folder


def jsonl(path: Path, **texts: str) -> Path:
    """Write records with these ids and texts."""
    path.write_text("".join(json.dumps({"_id": i, "text": t}) + "\n" for i, t in texts.items()))
    return path


def doc_ids(folder: Path) -> list[str]:
    """Return the document id of every passage of an index."""
    found: list[str] = Index(folder).passages.table.column("doc_id").to_pylist()
    return found


def assert_equal(one: Path, other: Path) -> None:
    """Check that two indexes hold the same passages, vectors and files."""
    first, second = Index(one), Index(other)
    assert first.passages.table.equals(second.passages.table)
    assert np.allclose(first.vectors, second.vectors, atol=1e-6)
    assert [(f.name, f.first, f.passages) for f in first.files] == [
        (f.name, f.first, f.passages) for f in second.files
    ]
