"""Count in how many passages each word piece of all-MiniLM-L6-v2 occurs.

    python scripts/make_idf_table.py FOLDER

FOLDER holds JSONL files (also .gz) with a passage in `positive`; equal passages count once. The
table goes to ettin_cli/data/, where README.md names the sets it was made from and their licences.
The same folder gives the same bytes.
"""

import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from ettin_cli.models.hub import embedded_folder
from ettin_cli.models.rerankers.embedded import IDF_TABLE

TABLE = Path(__file__).parents[1] / "ettin_cli" / "data" / IDF_TABLE


def passages(folder: Path) -> Iterator[str]:
    """Yield every distinct passage of a folder."""
    seen = set()
    for path in sorted(folder.glob("*.jsonl*")):
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8") as file:
            for line in file:
                text = json.loads(line)["positive"]
                if text not in seen:
                    seen.add(text)
                    yield text


def main() -> None:
    """Write the table and say what it counts."""
    tokenizer = Tokenizer.from_file(str(embedded_folder() / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    frequencies = np.zeros(tokenizer.get_vocab_size(), np.uint32)
    texts = list(passages(Path(sys.argv[1])))
    for begin in range(0, len(texts), 1000):
        batch = tokenizer.encode_batch(texts[begin : begin + 1000], add_special_tokens=False)
        for encoding in batch:
            frequencies[np.unique(encoding.ids)] += 1
    np.savez_compressed(TABLE, passages=np.uint32(len(texts)), frequencies=frequencies)
    print(f"{len(texts):,} passages, {np.count_nonzero(frequencies):,} word pieces -> {TABLE}")


if __name__ == "__main__":
    main()
