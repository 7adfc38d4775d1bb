"""Measure how much memory `ettin index` takes as the corpus grows.

    python benchmarks/index_memory.py [--records N...] [--dimension D]

Each corpus is a JSONL file of short, distinct records, indexed in a separate process by a model of
one small layer with seeded random weights, on the CPU. Prints one row per corpus: peak resident
memory of the process, memory of the vectors alone, and seconds. The smallest corpus shows the fixed
cost; the difference between two rows, minus that of their vectors, is the cost of the records.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

WORDS = [f"w{number}" for number in range(4000)]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS_A_RECORD = 12
MB = 1e6


@dataclass(frozen=True)
class Measured:
    """The cost of indexing: bytes and seconds."""

    peak: int
    seconds: float


def write_model(folder: Path, dimension: int) -> Path:
    """Write an embedder with seeded random weights."""
    torch.manual_seed(0)
    vocabulary = {word: number for number, word in enumerate([*SPECIAL, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=ends
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    trunk = folder / "trunk"
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=128, **names
    ).save_pretrained(trunk)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=dimension,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=dimension,
        max_position_embeddings=128,
    )
    BertModel(config).save_pretrained(trunk)
    model = SentenceTransformer(modules=[Transformer(str(trunk)), Pooling(dimension)], device="cpu")
    model.save(str(folder / "model"))
    return folder / "model"


def write_corpus(path: Path, records: int) -> Path:
    """Write records of seeded random words."""
    chooser = random.Random(records)
    with path.open("w", encoding="utf-8") as file:
        for number in range(records):
            text = " ".join(chooser.choices(WORDS, k=WORDS_A_RECORD))
            file.write(json.dumps({"_id": f"record-{number}", "text": text}) + "\n")
    return path


def measured(corpus: Path, model: Path, folder: Path) -> Measured:
    """Index a corpus in a separate process and return its cost."""
    command = [sys.executable, "-m", "ettin_cli", "index", str(corpus)]
    began = time.perf_counter()
    process = subprocess.Popen(
        [*command, "-i", str(folder), "--embedder", str(model), "--device", "cpu", "--quiet"],
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"ettin index failed with {process.returncode}")
    # Kilobytes, except on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    return Measured(usage.ru_maxrss * unit, time.perf_counter() - began)


def main() -> None:
    """Print one row per corpus."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", nargs="+", type=int, default=[10_000, 200_000])
    parser.add_argument("--dimension", type=int, default=384)
    arguments = parser.parse_args()
    print("| records | peak RSS, MB | vectors, MB | seconds |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        model = write_model(place, arguments.dimension)
        for records in arguments.records:
            corpus = write_corpus(place / f"{records}.jsonl", records)
            took = measured(corpus, model, place / f"{records}.index")
            vectors = records * arguments.dimension * 4
            print(
                f"| {records:,} | {took.peak / MB:,.0f} | {vectors / MB:,.0f} "
                f"| {took.seconds:,.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
