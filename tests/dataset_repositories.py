"""Dataset repositories in the layouts of the hub's public collections, small and made up."""

import gzip
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ettin_cli.collections import COLLECTIONS, NANOBEIR, family
from tests.hub_server import Repository

Rows = Sequence[Mapping[str, Any]]

WORDS = """ferry harbour bread oven telescope garden compost phone island winter market lantern
bicycle river bridge orchard teacher violin blanket candle""".split()


def parquet(rows: Rows, group: int | None = None) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(map(dict, rows))), file, row_group_size=group)
    return file.getvalue()


def jsonl(rows: Rows) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def tsv(rows: Rows) -> bytes:
    lines = ["\t".join(rows[0]), *("\t".join(map(str, row.values())) for row in rows)]
    return "\n".join(lines).encode() + b"\n"


def card(configs: Mapping[str, Mapping[str, str]], licence: str = "cc-by-4.0") -> bytes:
    """Return a README whose YAML names the files of each configuration and split."""
    lines = ["---", f"license: {licence}", "configs:"]
    for name, splits in configs.items():
        lines += [f"- config_name: {name}", "  data_files:"]
        for split, path in splits.items():
            lines += [f"  - split: {split}", f"    path: {path}"]
    return "\n".join([*lines, "---", "", "# A made-up data set", ""]).encode()


def documents(begin: int, count: int) -> list[dict[str, str]]:
    """Return documents of five words each; no two have the same."""
    return [
        {
            "_id": f"d{number}",
            "title": "",
            "text": " ".join(WORDS[(number * step + step) % len(WORDS)] for step in range(1, 6))
            + f" number {number}",
        }
        for number in range(begin, begin + count)
    ]


def queries(begin: int, count: int) -> list[dict[str, str]]:
    return [
        {"_id": f"q{at}", "text": f"{WORDS[at % 20]} and {WORDS[(3 * at + 1) % 20]}"}
        for at in range(begin, begin + count)
    ]


def judgements(begin: int, count: int, first: int, documents: int) -> list[dict[str, Any]]:
    """Return two judgements for each query, one of them of a higher grade."""
    return [
        {"query-id": f"q{at}", "corpus-id": f"d{first + (at * step) % documents}", "score": step}
        for at in range(begin, begin + count)
        for step in (1, 2)
        if step == 1 or at % documents
    ]


NANO_DOCUMENTS, NANO_QUERIES = 16, 4


def nanobeir() -> dict[str, bytes]:
    """Return a repository as sentence-transformers/NanoBEIR-en: four configurations, 13 splits."""
    files: dict[str, bytes] = {}
    splits = [one.split for one in family(NANOBEIR)]
    for number, split in enumerate(splits):
        first = 100 * number
        qrels = judgements(first, NANO_QUERIES, first, NANO_DOCUMENTS)
        corpus = [
            {"_id": one["_id"], "text": one["text"]} for one in documents(first, NANO_DOCUMENTS)
        ]
        # A copy of a document that is relevant to the first query.
        corpus[10]["text"] = corpus[first % NANO_DOCUMENTS]["text"]
        tables: dict[str, Rows] = {
            "corpus": corpus,
            "queries": queries(first, NANO_QUERIES),
            "qrels": [{name: row[name] for name in ("query-id", "corpus-id")} for row in qrels],
            "bm25": [
                {
                    "query-id": f"q{at}",
                    # The last documents of the corpus are not among them, so some positives miss.
                    "corpus-ids": [f"d{first + (5 * at + 3 * rank) % 11}" for rank in range(11)],
                }
                for at in range(first, first + NANO_QUERIES)
            ],
        }
        for name, rows in tables.items():
            files[f"{name}/{split}-00000-of-00001.parquet"] = parquet(rows)
    configs = {
        name: {split: f"{name}/{split}-*" for split in splits}
        for name in ("corpus", "queries", "qrels", "bm25")
    }
    return {"README.md": card(configs), **files}


def beir(name: str) -> dict[str, Repository]:
    """Return the repositories of beir/NAME: Parquet by its card, and judgements without one."""
    corpus = documents(0, 30)
    for document in corpus:
        document["title"] = f"Title {document['_id']}"
    configs = {
        "corpus": {"corpus": "corpus/corpus-*"},
        "queries": {"queries": "queries/queries-*"},
    }
    return {
        f"datasets/BeIR/{name}": Repository(
            {
                "README.md": card(configs),
                "corpus/corpus-00000-of-00002.parquet": parquet(corpus[:20]),
                "corpus/corpus-00001-of-00002.parquet": parquet(corpus[20:]),
                "queries/queries-00000-of-00001.parquet": parquet(queries(0, 12)),
            }
        ),
        f"datasets/BeIR/{name}-qrels": Repository(
            {
                "README.md": b"---\nlicense: cc-by-sa-4.0\n---\n",
                "train.tsv": tsv(judgements(6, 6, 0, 30)),
                "test.tsv": tsv(judgements(0, 6, 0, 30)),
            }
        ),
    }


def beir_as_jsonl(name: str) -> dict[str, Repository]:
    """Return the repositories of beir/NAME in their older layout, without YAML in the cards."""
    [kept, qrels] = beir(name).items()
    files = {
        "README.md": b"# The card\n",
        f"{name}.py": b"raise SystemExit\n",
        "corpus.jsonl.gz": gzip.compress(jsonl(documents(0, 30)), mtime=0),
        "queries.jsonl.gz": gzip.compress(jsonl(queries(0, 12)), mtime=0),
    }
    return {kept[0]: Repository(files), qrels[0]: qrels[1]}


def arguana() -> dict[str, Repository]:
    """Return the repository of mteb/ArguAna, in which every query is a document too."""
    corpus, asked = documents(0, 24), []
    for at in range(8):
        corpus[at]["_id"] = f"q{at}"
        asked.append({"_id": f"q{at}", "text": corpus[at]["text"]})
    for document in corpus[::3]:
        document["title"] = f"About {document['_id']}"
    collection = COLLECTIONS["mteb/ArguAna"]
    configs = {
        "default": {"test": "qrels/test.jsonl"},
        "corpus": {"corpus": "corpus.jsonl"},
        "queries": {"queries": "queries.jsonl"},
    }
    files = {
        "README.md": card(configs),
        "corpus.jsonl": jsonl(corpus),
        "queries.jsonl": jsonl(asked),
        "qrels/test.jsonl": jsonl(judgements(0, 8, 8, 16)),
    }
    assert collection.revision
    return {f"datasets/{collection.repository}": Repository(files, collection.revision)}


def cqadupstack() -> dict[str, Repository]:
    """Return the repositories of two subforums: as JSONL, and as mteb writes them since."""
    qrels, corpus, asked = judgements(0, 6, 0, 30), documents(0, 30), queries(0, 12)
    older = {"corpus.jsonl": corpus, "queries.jsonl": asked, "qrels/test.jsonl": qrels}
    card_of_older = {
        "default": {"test": "qrels/test.jsonl"},
        "corpus": {"corpus": "corpus.jsonl"},
        "queries": {"queries": "queries.jsonl"},
    }
    parts = {"corpus": corpus, "queries": asked, "qrels": qrels}
    named = {"_id": "id"}
    contents = [
        {
            "README.md": card(card_of_older, "apache-2.0"),
            **{name: jsonl(rows) for name, rows in older.items()},
        },
        {
            "README.md": card({part: {"test": f"{part}/test-*"} for part in parts}, "apache-2.0"),
            **{
                f"{part}/test-00000-of-00001.parquet": parquet(
                    [{named.get(key, key): value for key, value in row.items()} for row in rows]
                )
                for part, rows in parts.items()
            },
        },
    ]
    found = {}
    for forum, files in zip(("gaming", "android"), contents, strict=True):
        collection = COLLECTIONS[f"beir/cqadupstack-{forum}"]
        assert collection.revision
        found[f"datasets/{collection.repository}"] = Repository(files, collection.revision)
    return found


def pairs(config: str, begin: int, count: int) -> list[dict[str, Any]]:
    """Return rows of a query, a document and a teacher's score, each with its number."""
    return [
        {
            "query": f"{config} {WORDS[at % 20]}",
            "document": " ".join(WORDS[(at * step + step) % 20] for step in range(1, 3 + at % 7))
            + f" {at}",
            "label": float(at * 37 % 23 - 11),
        }
        for at in range(begin, begin + count)
    ]


TRAINED_ON = "cross-encoder/ettin-reranker-v1-data"
# The rows of each shard of each configuration.
SHARDS = {"agnews": [40], "quora": [24], "reddit": [30, 30, 28]}


def training_data(shards: Mapping[str, Sequence[int]] = SHARDS) -> dict[str, bytes]:
    """Return a repository as the training data of the Ettin release, and a table of texts."""
    files: dict[str, bytes] = {}
    about = ["---", "dataset_info:"]
    configs = ["configs:"]
    for config, counts in shards.items():
        begin = 0
        for at, count in enumerate(counts):
            name = f"{config}/train-{at:05}-of-{len(counts):05}.parquet"
            files[name] = parquet(pairs(config, begin, count), group=16)
            begin += count
        splits = {"train": begin}
        if config == "quora":
            splits["validation"] = 5
            held_out = pairs("validation", 0, 5)
            files["quora/validation-00000-of-00001.parquet"] = parquet(held_out)
        about += [f"- config_name: {config}", "  splits:"]
        configs += [f"- config_name: {config}", "  data_files:"]
        for split, count in splits.items():
            about += [f"  - name: {split}", f"    num_examples: {count}"]
            configs += [f"  - split: {split}", f"    path: {config}/{split}-*"]
    files["texts/train-00000-of-00001.parquet"] = parquet([{"text": "a", "label": 1}])
    configs += ["- config_name: texts", "  data_files:", "  - split: train", "    path: texts/*"]
    lines = [*about, *configs, "license: apache-2.0", "---", "", "# Scores", ""]
    return {"README.md": "\n".join(lines).encode(), **files}
