"""How fast a machine feeds a GPU: pairs per second of a cross-encoder that computes nothing.

    python benchmarks/host_speed.py [--pairs 8192] [--tokens 150] [--rounds 5] [--long]

The tokenizer is a byte-level BPE like Ettin's, trained on the words of the documentation. Texts,
tokenizing, batches and inputs are as for a GPU, with inputs without padding; only the forward pass
returns zeros at once, on the CPU. With --long one pair is beyond the token limit. Prints the best
and the median of the rounds, the processor's time per pair, and a digest of the tokens. The same
file measures an older version from its checkout:

    PYTHONPATH=CHECKOUT python benchmarks/host_speed.py
"""

import argparse
import hashlib
import random
import statistics
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from ettin_cli.models.engines import torch_runtime
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.engines.torch_runtime import Placement
from ettin_cli.models.rerankers.cross_encoder import TorchCrossEncoder
from ettin_cli.records import Silence

ROOT = Path(__file__).resolve().parent.parent
# Texts of one query, as many as a search reranks.
DEPTH = 100


def words() -> list[str]:
    """Return the words of the documentation, in order."""
    pages = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
    return " ".join(page.read_text(encoding="utf-8") for page in pages).split()


def make_model(
    folder: Path, known: list[str], *, hidden: int = 32, layers: int = 1, heads: int = 1
) -> Path:
    """Write a reranker with random weights whose tokenizer has learnt the words; tiny if unsaid."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    from tests.models import ettin

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["[PAD]", "[CLS]", "[SEP]"]
    trainer = trainers.BpeTrainer(
        vocab_size=50_000,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator([" ".join(known)], trainer)
    ettin(folder, hidden=hidden, layers=layers, heads=heads, vocabulary=made.get_vocab_size())
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:0 [SEP]:0",
        special_tokens=[("[CLS]", 1), ("[SEP]", 2)],
    )
    PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=made,
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=7999,
        model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(folder)
    return folder


def make_pairs(known: list[str], pairs: int, size: int) -> list[tuple[str, str]]:
    """Return pairs of distinct texts whose lengths vary from half to one and a half of `size`."""
    chosen = random.Random(7)

    def text(count: int) -> str:
        begin = chosen.randrange(len(known) - count)
        return " ".join(known[begin : begin + count])

    queries = [text(8) for _ in range(-(-pairs // DEPTH))]
    sizes = [chosen.randint(size // 2, size * 3 // 2) for _ in range(pairs)]
    return [(queries[at // DEPTH], text(count)) for at, count in enumerate(sizes)]


def without_forward(folder: Path, digest: Any) -> TorchCrossEncoder:
    """Return the cross-encoder as on a GPU, with a forward pass that returns zeros."""
    settings = EngineSettings("cpu", "fp32", max_length=512)
    torch_runtime.CPU_BATCH_TOKENS = torch_runtime.GPU_BATCH_TOKENS
    placement: Any = Placement(settings, Silence())
    placement.at_once = getattr(torch_runtime, "GPU_THREADS", 1)
    made = TorchCrossEncoder(folder, placement)
    made.model._can_flatten_inputs = lambda: True
    torch_runtime.is_unpadded = lambda model: True
    if not hasattr(made.model[0], "_flatten_position_offset"):
        made.model[0]._flatten_position_offset = 0

    def forward(features: dict[str, Any]) -> dict[str, torch.Tensor]:
        if digest is not None:
            digest.append(features)
        texts = len(features["cu_seq_lens_q"]) - 1
        return {"scores": torch.zeros(texts, 1)}

    made.model.forward = forward
    return made


def digested(batches: list[dict[str, Any]]) -> tuple[str, int]:
    """Return a hash of the tokens of all pairs, in whatever batches, and their mean number."""
    texts = []
    for batch in batches:
        ids, ends = batch["input_ids"][0].tolist(), batch["cu_seq_lens_q"].tolist()
        texts += [str(ids[a:b]) for a, b in pairwise(ends)]
        starts = [batch["position_ids"][0, a].item() for a in ends[:-1]]
        assert set(starts) == {0}
    tokens = sum(len(batch["input_ids"][0]) for batch in batches)
    return hashlib.sha256("".join(sorted(texts)).encode()).hexdigest()[:16], tokens // len(texts)


def main() -> None:
    """Print the speed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=8192)
    parser.add_argument("--tokens", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--long", action="store_true")
    asked = parser.parse_args()
    known = words()
    with tempfile.TemporaryDirectory() as folder:
        model = make_model(Path(folder), known)
        seen: list[dict[str, Any]] = []
        sample = make_pairs(known, 256, asked.tokens)
        without_forward(model, seen).score(sample)
        # Words are one or two tokens, so the number of words for a number of tokens is found.
        size = asked.tokens * asked.tokens // digested(seen)[1]
        pairs = make_pairs(known, asked.pairs, size)
        if asked.long:
            pairs[len(pairs) // 2] = (pairs[0][0], " ".join(known[:2000]))
        seen.clear()
        without_forward(model, seen).score(pairs)
        digest, tokens = digested(seen)
        scorer = without_forward(model, None)
        rates, spent = [], []
        for _ in range(asked.rounds):
            began, before = time.perf_counter(), time.process_time()
            scorer.score(pairs)
            rates.append(len(pairs) / (time.perf_counter() - began))
            spent.append((time.process_time() - before) / len(pairs) * 1e6)
    print(
        f"{len(pairs):,} pairs of {tokens} tokens: best {max(rates):,.0f}, "
        f"median {statistics.median(rates):,.0f} pairs/s; "
        f"least {min(spent):.0f} microseconds of processor time a pair; tokens {digest}"
    )


if __name__ == "__main__":
    main()
