"""Compare ways to find the passages with the highest MaxSim in a whole index.

    python benchmarks/multi_vector.py FOLDER... [--model FOLDER] [--cache FOLDER] [--queries N]

All folders (corpus.jsonl, queries.jsonl) are joined into one corpus. Without --model the model is
made from all-MiniLM-L6-v2: its token vectors, projected to 128 dimensions by a PCA of a sample,
and scored by sentence-transformers' rules. Encodings are kept in the cache.

A method proposes candidates, most promising first, and exact MaxSim ranks them. Prints for each
method the bytes a passage that it needs besides the token vectors, the processor time of a query
(run with OMP_NUM_THREADS=1), the share of the 100 passages with the highest MaxSim that is among
the first 200 to 5,000 proposed, and how many proposals reach a share of 0.98. The first N of
--passages are a random part of the corpus, so that the tables show how this number grows.
"""

import argparse
import json
import string
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ettin_cli.index.lexicon import LEXICAL, Lexicon
from ettin_cli.index.lexicon_writer import write_lexicon
from ettin_cli.index.manifest import FileRecord
from ettin_cli.index.passages import PASSAGES, Passages, PassageWriter
from ettin_cli.models.embedders import find_embedder
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.multi_vector.encoding import load_token_encoder
from ettin_cli.records import Passage, Silence
from ettin_cli.searching.fusion import HEAD, Scale, fused
from ettin_cli.searching.retrievers import highest
from ettin_cli.storage import checksum
from ettin_cli.text.lexical import ENGLISH, Terms

DIMENSION = 128
SAMPLE = 200
WORDS = 100
BLOCK = 512
TOP = 100
WANTED = 0.98
DEPTHS = (200, 500, 1000, 2000, 5000)
# Hyperplanes, repetitions and dimensions of a bucket.
ENCODINGS = ((3, 10, 16), (4, 20, 16), (5, 20, 32))
CENTROIDS = (1024, 4096, 8192)
PROBES = (1, 4, 16, 64, 256)
TOKENS_A_CENTROID = 40
METHODS = ("lists", "centroids", "encodings")

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Tokens:
    """Token vectors of many texts, one after the other.

    Args:
        vectors: Shape (tokens, dimension), in half precision, mapped from a file.
        begins: Where each text begins, and the end of the last.
    """

    vectors: NDArray[np.float16]
    begins: Rows

    def __len__(self) -> int:
        return len(self.begins) - 1

    def of(self, text: int) -> Floats:
        """Return a text's vectors in single precision."""
        return self.vectors[self.begins[text] : self.begins[text + 1]].astype(np.float32)

    def first(self, texts: int) -> "Tokens":
        """Return the first texts' vectors only."""
        return Tokens(self.vectors, self.begins[: texts + 1])

    @cached_property
    def means(self) -> Floats:
        """The unit mean of each text's vectors."""
        return np.stack([unit(self.of(text).sum(axis=0)) for text in range(len(self))])


def unit(vectors: Floats) -> Floats:
    """Return vectors normalised along the last axis."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), np.float32)


def lines(path: Path) -> Iterator[dict[str, str]]:
    """Yield the objects of a JSONL file."""
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def passages_of(folder: Path) -> Iterator[str]:
    """Yield a corpus's documents in passages of at most 100 words."""
    for row in lines(folder / "corpus.jsonl"):
        words = Passage(row["_id"], row["text"], row.get("title") or "").content.split()
        for begin in range(0, len(words), WORDS):
            yield " ".join(words[begin : begin + WORDS])


def queries_of(folders: Sequence[Path], count: int) -> list[str]:
    """Return queries of all folders in equal shares, as far as each has so many."""
    rng = np.random.default_rng(0)
    every = []
    for folder in folders:
        texts = [row["text"] for row in lines(folder / "queries.jsonl")]
        every.append([texts[at] for at in rng.permutation(len(texts))])
    mixed = chain.from_iterable(zip_longest(*every))
    return list(dict.fromkeys(text for text in mixed if text))[:count]


def made_model(folder: Path, texts: Sequence[str], layers: int | None) -> Path:
    """Write a multi-vector model with the token vectors of all-MiniLM-L6-v2.

    Args:
        texts: Those whose token vectors the projection is computed from.
        layers: Its first layers only; the token vectors of a text are then less alike.
    """
    import torch
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

    source = find_embedder("embedded", offline=True, reporter=Silence()).folder
    trunk = Transformer(str(source), max_seq_length=256)
    if layers:
        trunk.model.encoder.layer = trunk.model.encoder.layer[:layers]
        trunk.model.config.num_hidden_layers = layers
    rng = np.random.default_rng(0)
    sample = [texts[at] for at in rng.permutation(len(texts))[:SAMPLE]]
    products = np.zeros((trunk.get_embedding_dimension(),) * 2)
    for begin in range(0, len(sample), 16):
        features = trunk.preprocess(sample[begin : begin + 16])
        with torch.no_grad():
            output = trunk(features)
        vectors = output["token_embeddings"][output["attention_mask"].bool()].double().numpy()
        products += vectors.T @ vectors
    axes = np.linalg.eigh(products)[1][:, ::-1][:, :DIMENSION]
    dense = Dense(
        trunk.get_embedding_dimension(),
        DIMENSION,
        bias=False,
        activation_function=torch.nn.Identity(),
        init_weight=torch.tensor(axes.T.copy(), dtype=torch.float32),
        module_input_name="token_embeddings",
    )
    mask = MultiVectorMask(list(string.punctuation))
    modules = [trunk, dense, mask, Normalize(module_input_name="token_embeddings")]
    MultiVectorEncoder(modules=modules, device="cpu").save_pretrained(str(folder))
    return folder


def encoded(model: Path, texts: Sequence[str], cache: Path, *, queries: bool = False) -> Tokens:
    """Return the token vectors of texts, from the cache where they were computed before."""
    vectors, counts = cache.with_suffix(".f16"), cache.with_suffix(".counts")
    known = np.fromfile(counts, np.int64) if counts.exists() else np.empty(0, np.int64)
    if len(known) < len(texts):
        encoder = load_token_encoder(model, EngineSettings("cpu"), Silence())
        with vectors.open("ab") as file, counts.open("ab") as lengths:
            for begin in range(len(known), len(texts), BLOCK):
                block, kept = texts[begin : begin + BLOCK], dict[int, Floats]()
                if queries:
                    kept = dict(enumerate(one.tokens for one in encoder.queries(block)[0]))
                else:
                    encoder.texts(block, lambda at, one: kept.update({at: one.tokens}))  # noqa: B023
                for at in range(len(block)):
                    file.write(kept[at].astype(np.float16).tobytes())
                file.flush()
                lengths.write(np.array([len(kept[at]) for at in range(len(block))]).tobytes())
                lengths.flush()
                print(f"{begin + len(block)} of {len(texts)} encoded", flush=True)
        known = np.fromfile(counts, np.int64)
    begins = np.concatenate([[0], np.cumsum(known[: len(texts)])])
    width = vectors.stat().st_size // 2 // int(known.sum())
    mapped = np.memmap(vectors, np.float16, "r", shape=(int(known.sum()), width))
    return Tokens(mapped, begins)


def maxsims(query: Floats, tokens: Tokens, rows: Rows) -> Floats:
    """Return the exact MaxSim of some passages."""
    begins, ends = tokens.begins[rows], tokens.begins[rows + 1]
    if not len(rows):
        return np.empty(0, np.float32)
    if ends[-1] - begins[0] == (ends - begins).sum():
        found = tokens.vectors[begins[0] : ends[-1]]
    else:
        found = np.concatenate([tokens.vectors[b:e] for b, e in zip(begins, ends, strict=True)])
    starts = np.concatenate([[0], np.cumsum(ends - begins)[:-1]])
    products = found.astype(np.float32) @ query.T
    scores: Floats = np.maximum.reduceat(products, starts, axis=0).sum(axis=1)
    return scores


def exact_scores(tokens: Tokens, queries: Tokens, cache: Path) -> Floats:
    """Return every query's MaxSim of every passage, from the cache if it was computed before."""
    shape = len(queries), len(tokens)
    if cache.exists():
        known: Floats = np.load(cache)
        if known.shape == shape:
            return known
    scores = np.empty(shape, np.float32)
    together = queries.vectors.astype(np.float32)
    for begin in range(0, len(tokens), BLOCK):
        rows = np.arange(begin, min(begin + BLOCK, len(tokens)))
        first, last = tokens.begins[rows[0]], tokens.begins[rows[-1] + 1]
        products = tokens.vectors[first:last].astype(np.float32) @ together.T
        best = np.maximum.reduceat(products, tokens.begins[rows] - first, axis=0)
        scores[:, rows] = np.add.reduceat(best, queries.begins[:-1], axis=1).T
    np.save(cache, scores)
    return scores


@dataclass(frozen=True)
class Method:
    """A way to propose candidates.

    Args:
        size: Bytes a passage that it needs besides the token vectors.
        propose: The number of a query, a depth -> that many rows, most promising first.
    """

    name: str
    size: float
    propose: Callable[[int, int], Rows]


def top(scores: Floats, depth: int) -> Rows:
    """Return the rows of the highest scores, best first."""
    depth = min(depth, len(scores))
    rows = np.argpartition(-scores, depth - 1)[:depth]
    return rows[np.argsort(-scores[rows], kind="stable")]


class Lists:
    """What an index has anyway: the cosine of mean vectors, and BM25."""

    def __init__(
        self,
        tokens: Tokens,
        queries: Tokens,
        texts: Sequence[str],
        asked: Sequence[str],
        folder: Path,
    ) -> None:
        self.means, self.queries = tokens.means.astype(np.float16), queries.means
        folder.mkdir(parents=True, exist_ok=True)
        writer = PassageWriter(folder / PASSAGES)
        for at, text in enumerate(texts):
            writer.add(Passage(str(at), text), 0)
        writer.close()
        terms = Terms(ENGLISH)
        write_lexicon(folder, Passages(folder / PASSAGES, len(texts)), terms)
        files = [folder / name for name in LEXICAL]
        records = {file.name: FileRecord(file.stat().st_size, checksum(file)) for file in files}
        self.lexicon = Lexicon(folder, len(texts), records)
        self.terms = [Counter(terms.of_query(text)) for text in asked]
        self.index = faiss_index(self.means.shape[1], "SQfp16")
        add(self.index, self.means)

    def dense(self, query: int, depth: int) -> Rows:
        """Return the rows with the nearest mean vectors."""
        return found(self.index, self.queries, query, depth)

    def bm25(self, query: int, depth: int) -> Rows:
        """Return the rows with the highest BM25."""
        return highest(self.lexicon.scores(self.terms[query]), depth)[0]

    def union(self, query: int, depth: int) -> Rows:
        """Return both lists' rows, alternating."""
        both = zip_longest(self.dense(query, depth).tolist(), self.bm25(query, depth).tolist())
        rows = dict.fromkeys(row for pair in both for row in pair if row is not None)
        return np.array(list(rows)[:depth])

    def hybrid(self, query: int, depth: int) -> Rows:
        """Return the rows with the highest fused score."""
        worth = self.lexicon.scores(self.terms[query]).of(np.arange(len(self.means)))
        near = self.dense(query, depth)
        rows = np.union1d(near, top(worth, depth))
        cosines = self.means[rows].astype(np.float32) @ self.queries[query]
        heads = cosines[np.argsort(-cosines)[:HEAD]], worth[top(worth, HEAD)]
        sides = zip(heads, (cosines, worth[rows]), strict=True)
        scores = fused(*(Scale.of(head.tolist()).above(side) for head, side in sides))
        return rows[top(scores, depth)]


def lists(
    tokens: Tokens, queries: Tokens, texts: Sequence[str], asked: Sequence[str], folder: Path
) -> Iterator[Method]:
    """Yield the methods that need no new structure."""
    made = Lists(tokens, queries, texts, asked, folder)
    for name in ("dense", "bm25", "union", "hybrid"):
        yield Method(f"lists: {name}", 0, getattr(made, name))


def faiss_index(dimension: int, factory: str) -> Any:
    """Return an empty FAISS index of inner products that uses one thread."""
    import faiss

    faiss.omp_set_num_threads(1)
    return faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT)


def add(index: Any, vectors: NDArray[np.float16], sample: int = 10_000) -> None:
    """Train an index on a sample of vectors, and add all of them."""
    if not index.is_trained:
        step = max(1, len(vectors) // sample)
        index.train(vectors[::step].astype(np.float32))
    for begin in range(0, len(vectors), BLOCK):
        index.add(vectors[begin : begin + BLOCK].astype(np.float32))


@dataclass(frozen=True)
class Encodings:
    """Fixed dimensional encodings (MUVERA, Dhulipala et al. 2024).

    Args:
        bits: Hyperplanes that divide the space into buckets.
        repetitions: Independent divisions; their encodings are concatenated.
        width: Dimensions of a bucket, by random signs.
        centre: Where the hyperplanes cross.
    """

    bits: int
    repetitions: int
    width: int
    centre: Floats

    @property
    def dimension(self) -> int:
        """The number of dimensions of an encoding."""
        return self.repetitions * (1 << self.bits) * self.width

    def of(self, tokens: Tokens, *, queries: bool) -> NDArray[np.float16]:
        """Return the encodings: sums of a query's tokens in a bucket, means of a passage's.

        An empty bucket of a passage takes a token with the fewest bits unlike the bucket's. The
        hyperplanes cross at the mean of the passages' tokens, since those of most models share
        much of their direction.
        """
        encodings = np.zeros((len(tokens), self.repetitions, 2**self.bits, self.width), np.float16)
        buckets = np.arange(2**self.bits)
        unlike = np.bitwise_count(buckets[:, None] ^ buckets)
        for repetition in range(self.repetitions):
            rng = np.random.default_rng(repetition)
            wide = tokens.vectors.shape[1]
            planes = rng.standard_normal((wide, self.bits)).astype(np.float32)
            middle = self.centre @ planes
            signs = rng.choice([-1, 1], (wide, self.width)).astype(np.float32)
            signs /= np.sqrt(self.width)
            for text in range(len(tokens)):
                vectors = tokens.of(text)
                bucket = (vectors @ planes > middle) @ (1 << np.arange(self.bits))
                member = (bucket == buckets[:, None]).astype(np.float32)
                counts = member.sum(axis=1)
                if not queries:
                    nearest = unlike[:, bucket].argmin(axis=1)
                    empty = np.flatnonzero(counts == 0)
                    member[empty, nearest[empty]] = 1
                    member /= np.maximum(counts, 1)[:, None]
                encodings[text, repetition] = (member @ vectors) @ signs
        return encodings.reshape(len(tokens), -1)


def encodings(tokens: Tokens, queries: Tokens, passages: int, cache: Path) -> Iterator[Method]:
    """Yield fixed dimensional encodings of several sizes in FAISS."""
    some = np.random.default_rng(0).choice(len(tokens), min(500, len(tokens)), replace=False)
    centre = np.concatenate([tokens.of(text) for text in np.sort(some)]).mean(axis=0)
    for bits, repetitions, width in ENCODINGS:
        made = Encodings(bits, repetitions, width, centre)
        path = cache / f"muvera-{bits}-{repetitions}-{width}-{len(tokens)}.npy"
        if not path.exists():
            np.save(path, made.of(tokens, queries=False))
        vectors = np.load(path, mmap_mode="r")[:passages]
        asked = made.of(queries, queries=True).astype(np.float32)
        for factory in ("SQfp16", f"PQ{made.dimension // 4}x4fs"):
            index = faiss_index(made.dimension, factory)
            add(index, vectors, 4000)
            yield Method(
                f"MUVERA {bits} bits, {repetitions} times, {width} wide: {factory}",
                index.sa_code_size() if factory == "SQfp16" else made.dimension / 8,
                partial(found, index, asked),
            )


def found(index: Any, asked: Floats, query: int, depth: int) -> Rows:
    """Return the rows that FAISS finds for a query."""
    rows: Rows = index.search(asked[query][None], depth)[1][0]
    return rows[rows >= 0]


class Centroids:
    """Centroids of token vectors, and the passages that have a token at each (as in PLAID).

    A passage's score is the sum over the query's tokens of the highest product with a centroid
    among those probed where it has a token, or of the lowest product probed.
    """

    def __init__(self, tokens: Tokens, queries: Tokens, count: int, cache: Path) -> None:
        import faiss

        self.queries, self.passages = queries, len(tokens)
        path = cache / f"centroids-{count}-{len(tokens)}.npz"
        if not path.exists():
            faiss.omp_set_num_threads(1)
            wide, rng = tokens.vectors.shape[1], np.random.default_rng(0)
            sample = min(len(tokens.vectors), count * TOKENS_A_CENTROID)
            rows = np.sort(rng.choice(len(tokens.vectors), sample, replace=False))
            means = faiss.Kmeans(wide, count, niter=8, spherical=True)
            means.train(tokens.vectors[rows].astype(np.float32))
            learned = np.asarray(means.centroids, np.float32)
            codes = [
                (tokens.vectors[begin : begin + 65_536].astype(np.float32) @ learned.T)
                .argmax(axis=1)
                .astype(np.uint16)
                for begin in range(0, len(tokens.vectors), 65_536)
            ]
            np.savez(path, centroids=learned, codes=np.concatenate(codes))
        with np.load(path) as arrays:
            self.centroids, self.codes = arrays["centroids"], arrays["codes"]

    def of_first(self, tokens: Tokens) -> None:
        """Make the lists of the first passages."""
        self.passages = len(tokens)
        owners = np.repeat(np.arange(len(tokens)), np.diff(tokens.begins))
        codes = self.codes[: len(owners)].astype(np.int64)
        pairs = np.unique(codes * self.passages + owners)
        self.rows = (pairs % self.passages).astype(np.int32)
        ends = np.cumsum(np.bincount(pairs // self.passages, minlength=len(self.centroids)))
        self.begins = np.concatenate([[0], ends])

    def propose(self, probes: int, query: int, depth: int) -> Rows:
        """Return the rows with the highest approximate scores."""
        products = self.queries.of(query) @ self.centroids.T
        nearest = np.argpartition(-products, probes, axis=1)[:, : probes + 1]
        total, best = np.zeros((2, self.passages), np.float32)
        for token, probed in zip(products, nearest, strict=True):
            ordered = probed[np.argsort(token[probed])]
            begins, ends = self.begins[ordered[1:]], self.begins[ordered[1:] + 1]
            here = np.concatenate([self.rows[b:e] for b, e in zip(begins, ends, strict=True)])
            best[:] = 0
            # Of a passage in several lists the last and highest value remains.
            best[here] = np.repeat(token[ordered[1:]] - token[ordered[0]], ends - begins)
            total += best
        return top(total, min(depth, int(np.count_nonzero(total))))


def centroids(tokens: Tokens, queries: Tokens, passages: int, cache: Path) -> Iterator[Method]:
    """Yield inverted lists for several numbers of centroids and probes."""
    for count in CENTROIDS:
        made = Centroids(tokens, queries, count, cache)
        made.of_first(tokens.first(passages))
        size = made.rows.nbytes / passages
        for probes in PROBES:
            name = f"PLAID {count} centroids, {probes} probes"
            yield Method(name, size, partial(made.propose, probes))


@dataclass(frozen=True)
class Row:
    """What a method reaches."""

    name: str
    size: float
    ms: float
    recall: tuple[float, ...]
    needed: int | None

    def __str__(self) -> str:
        recall = " | ".join(f"{value:.3f}" for value in self.recall)
        needed = f"{self.needed:,}" if self.needed else f"> {DEPTHS[-1]:,}"
        return f"| {self.name} | {self.size:,.0f} | {self.ms:.1f} | {recall} | {needed} |"


def measured(method: Method, best: list[Rows], passages: int) -> Row:
    """Return the recall of the exact best by depth, and the processor time of a proposal."""
    deepest = min(DEPTHS[-1], passages)
    # Where in the proposals each of the best is.
    places = np.empty((len(best), TOP), np.int64)
    began = time.process_time()
    proposed = [method.propose(query, deepest) for query in range(len(best))]
    spent = time.process_time() - began
    for query, rows in enumerate(proposed):
        place = np.full(passages, DEPTHS[-1])
        place[rows] = np.arange(len(rows))
        places[query] = place[best[query]]
    recall = tuple(float((places < depth).mean()) for depth in DEPTHS)
    ordered = np.sort(places, axis=None)
    last = int(ordered[int(np.ceil(WANTED * ordered.size)) - 1]) + 1
    needed = last if last <= DEPTHS[-1] else None
    return Row(method.name, method.size, 1000 * spent / len(best), recall, needed)


def ranking_ms(tokens: Tokens, queries: Tokens) -> float:
    """Return the processor time of ranking 1,000 candidates exactly."""
    rng, times = np.random.default_rng(0), []
    for query in range(min(20, len(queries))):
        rows = np.sort(rng.choice(len(tokens), min(1000, len(tokens)), replace=False))
        began = time.process_time()
        maxsims(queries.of(query), tokens, rows)
        times.append((time.process_time() - began) * 1000 * 1000 / len(rows))
    return float(np.median(times))


def main() -> None:
    """Print a table for each size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--cache", type=Path, default=Path("multi-vector"))
    parser.add_argument("--model", type=Path)
    parser.add_argument("--layers", type=int, help="layers of all-MiniLM-L6-v2 to keep")
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--passages", type=int, nargs="+", help="sizes; default: all passages")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    arguments = parser.parse_args()
    cache: Path = arguments.cache
    cache.mkdir(parents=True, exist_ok=True)
    every = list(dict.fromkeys(chain.from_iterable(map(passages_of, arguments.folders))))
    sizes = sorted(arguments.passages or [len(every)])
    order = np.random.default_rng(1).permutation(len(every))[: sizes[-1]]
    texts, asked = [every[at] for at in order], queries_of(arguments.folders, arguments.queries)
    model = arguments.model or cache / "model"
    if not model.exists():
        made_model(model, texts, arguments.layers)
    compare(texts, asked, model, cache, sizes, arguments.methods)


def compare(
    texts: Sequence[str],
    asked: Sequence[str],
    model: Path,
    cache: Path,
    sizes: Sequence[int],
    methods: Sequence[str],
) -> None:
    """Print a table for each size."""
    queries = encoded(model, asked, cache / "queries", queries=True)
    tokens = encoded(model, texts, cache / "passages")
    scores = exact_scores(tokens, queries, cache / "exact.npy")
    print(
        f"{len(asked)} queries of {np.diff(queries.begins).mean():.0f} tokens, passages of "
        f"{np.diff(tokens.begins).mean():.0f}; mean product of two tokens of a passage "
        f"{likeness(tokens):.2f}; 1,000 candidates ranked in {ranking_ms(tokens, queries):.0f} ms"
    )
    for size in sizes:
        best = [top(row[:size], TOP) for row in scores]
        names = [f"recall@{TOP} of {depth:,}" for depth in DEPTHS]
        columns = [f"{size:,} passages", "bytes", "ms", *names, f"for {WANTED}"]
        print(f"\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
        made = {
            "lists": partial(
                lists, tokens.first(size), queries, texts[:size], asked, cache / "lists"
            ),
            "centroids": partial(centroids, tokens, queries, size, cache),
            "encodings": partial(encodings, tokens, queries, size, cache),
        }
        for name in methods:
            for method in made[name]():
                print(measured(method, best, size), flush=True)


def likeness(tokens: Tokens) -> float:
    """Return the mean product of two token vectors of the same passage."""
    values = []
    for text in range(min(500, len(tokens))):
        vectors = tokens.of(text)
        count = len(vectors)
        values.append((np.square(vectors.sum(axis=0)).sum() - count) / (count * (count - 1)))
    return float(np.mean(values))


if __name__ == "__main__":
    main()
