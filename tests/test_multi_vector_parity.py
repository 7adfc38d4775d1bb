"""Exact MaxSim of `-r` equals sentence-transformers and PyLate's formula, by architecture.

The formula is that of PyLate 1.6 (`ColBERT.tokenize`, `ColBERT.encode`, `colbert_scores`), written
with transformers alone.
"""

import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.rerankers.registry import find_reranker, load_reranker
from ettin_cli.records import Silence
from tests.models import TEXTS
from tests.multi_vectors import DOCUMENT_TOKENS, pylate, stanford, word_pieces

QUERY_TOKENS = 32
QUERIES = ["When does the ferry sail?", "dough", "Who, where?! and " * 12, "a: (b)"]
DOCUMENTS = [*TEXTS, TEXTS[0] * 9, "a, b. (c)!"]


def answerai(path: Path) -> Path:
    """Return a model as answerai-colbert-small-v1: BERT, word pieces, Stanford's metadata."""
    return word_pieces(stanford(path, query_token_id="[unused0]", doc_token_id="[unused1]"))


# A model, its prefixes, and whether a query's own tokens attend to those that fill it up.
MODELS: dict[str, tuple[Callable[[Path], Path], tuple[str, str], bool]] = {
    "GTE-ModernColBERT": (lambda path: pylate(path, "modernbert"), ("[Q] ", "[D] "), False),
    "GTE-ModernColBERT, attending": (
        lambda path: pylate(path, "modernbert", attend_to_expansion_tokens=True),
        ("[Q] ", "[D] "),
        True,
    ),
    "LFM2.5-ColBERT": (lambda path: pylate(path, "lfm2"), ("[Q] ", "[D] "), False),
    "LFM2.5-ColBERT, attending": (
        lambda path: pylate(path, "lfm2", attend_to_expansion_tokens=True),
        ("[Q] ", "[D] "),
        True,
    ),
    "PyLate's BERT": (pylate, ("[Q] ", "[D] "), False),
    "answerai-colbert-small": (answerai, ("[unused0]", "[unused1]"), False),
}


def token_vectors(folder: Path, ids: list[int], attended: int) -> Any:
    """Return the projected unit vectors of a text's tokens."""
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModel

    [file] = list(folder.glob("1_Dense/model.safetensors")) or [folder / "model.safetensors"]
    projection = load_file(file)["linear.weight"]
    model = AutoModel.from_pretrained(folder).eval()
    mask = torch.tensor([[int(at < attended) for at in range(len(ids))]])
    with torch.no_grad():
        hidden = model(input_ids=torch.tensor([ids]), attention_mask=mask).last_hidden_state[0]
    return torch.nn.functional.normalize(hidden @ projection.T, dim=-1)


def by_pylates_formula(folder: Path, prefixes: tuple[str, str], attend: bool) -> list[float]:
    """Return the score of every pair."""
    import torch
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    query_id, document_id = (tokenizer.get_vocab()[one] for one in prefixes)
    skipped = {tokenizer.convert_tokens_to_ids(mark) for mark in string.punctuation}

    def read(text: str, prefix: int, length: int) -> list[int]:
        ids: list[int] = tokenizer(text, truncation=True, max_length=length - 1)["input_ids"]
        return [ids[0], prefix, *ids[1:]]

    queries, documents = [], []
    for query in QUERIES:
        ids = read(query, query_id, QUERY_TOKENS)
        filled = ids + [tokenizer.mask_token_id] * (QUERY_TOKENS - len(ids))
        queries.append(token_vectors(folder, filled, len(filled if attend else ids)))
    for text in DOCUMENTS:
        ids = read(text, document_id, DOCUMENT_TOKENS)
        counted = torch.tensor([one not in skipped for one in ids])
        documents.append(token_vectors(folder, ids, len(ids))[counted])
    return [float((q @ d.T).max(dim=1).values.sum()) for q in queries for d in documents]


@pytest.mark.parametrize("name", MODELS)
def test_exact_maxsim_is_that_of_both_libraries(tmp_path: Path, name: str) -> None:
    from sentence_transformers import MultiVectorEncoder

    make, prefixes, attend = MODELS[name]
    folder = make(tmp_path)
    library = MultiVectorEncoder(str(folder), device="cpu")
    both = library.encode_query(QUERIES), library.encode_document(DOCUMENTS)
    theirs = library.similarity(*both).numpy().reshape(-1)
    formula = by_pylates_formula(folder, prefixes, attend)
    pairs = [(query, text) for query in QUERIES for text in DOCUMENTS]
    found = find_reranker(str(folder), offline=True, reporter=Silence())
    for engine in ("auto", "torch"):
        ours = load_reranker(found, EngineSettings("cpu", engine=engine), Silence()).score(pairs)
        assert ours.values == pytest.approx(formula, abs=1e-4)
        assert ours.values == pytest.approx(theirs, abs=1e-4)
    assert max(formula) - min(formula) > 1
