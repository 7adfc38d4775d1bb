"""Defaults, the known models with their pinned revisions, and the cache folder."""

import os
from dataclasses import dataclass
from pathlib import Path

INDEX_FORMAT = 4
# Increase when files give other passages than before, so that no index mixes the two.
READING = 1
DEFAULT_INDEX = ".ettin"
INDEXES = "indexes"
TOP_K = 10
CANDIDATES = 100
AUTO = "auto"
# The unit of a hit. With `document`, a document counts once, by its best passage.
DOCUMENT, PASSAGE = "document", "passage"
# Which passages are merged as duplicates: identical text, nearly identical text, or none.
SAME, NEAR, NONE = "same", "near", "none"
# If none of so many rows is valid, what holds them is taken for something else.
PROBED_ROWS = 100
METRICS = "nDCG@10,RR@10,R@100"
# How a text beyond the reranker's token limit is scored.
TRUNCATE, MAX = "truncate", "max"
LONG = (TRUNCATE, MAX)
# Negatives per query in mining; the random seed and the minutes between checkpoints in training.
NEGATIVES = 5
SEED = 12
CHECKPOINT_MINUTES = 10.0
# The baseline of a benchmark.
SENTENCE_TRANSFORMERS = "sentence-transformers"
HUB_TIMEOUT_S = 3.0
HUB_FAILURE_REMEMBERED_S = 600.0

# Limits for one document, so that a hostile one costs bounded time and memory. A document beyond
# them is rejected with the reason; SECURITY.md describes them.
MIB = 1 << 20
MAX_TEXT_BYTES = 128 * MIB
MAX_JSON_BYTES = 256 * MIB
MAX_RECORD_BYTES = 128 * MIB
MAX_MARKUP_BYTES = 64 * MIB
MAX_SHEET_BYTES = 256 * MIB
MAX_SHEET_TAGS = 2_000_000
MAX_UNPACKED_BYTES = 1024 * MIB
MAX_FRONT_MATTER = 1 << 16
MAX_COLUMNS = 10_000
MAX_IGNORES_BYTES = MIB
MAX_EMAIL_PARTS = 10_000
# Of which the parser keeps a list, at 90 bytes each.
MAX_EMAIL_LINES = 4_000_000
MAX_RTF_DEPTH = 10_000
MAX_OUTLOOK_PARTS = 1000
MAX_OLE_ENTRIES = 50_000
MAX_PAGES = 50_000
MAX_PDF_SECONDS = 300.0
MAX_PDF_MEMORY = 2048 * MIB
MAX_PAGE_SECONDS = 60.0
MAX_PAGE_MEMORY = 2048 * MIB
MAX_PICTURE_SIDE = 65_000
MAX_PICTURE_PIXELS = 200_000_000
MAX_OCR_SECONDS = 120.0
MAX_OCR_MEMORY = 4096 * MIB


@dataclass(frozen=True, slots=True)
class PublishedSpeed:
    """The speed of a model on a device, as published with the release.

    Args:
        device: The device, in words that are part of the name it gives itself.
        dtype: float32 or bfloat16.
        attention: The implementation of attention on a GPU.
        pairs_per_s: Pairs per second.
    """

    device: str
    dtype: str
    attention: str
    pairs_per_s: float

    def __str__(self) -> str:
        dtype = {"float32": "fp32", "bfloat16": "bf16"}[self.dtype]
        return f"{self.device} in {dtype}" + (f", {self.attention}" if self.attention else "")


# The devices of the published speeds: the CPU first, then the fastest setting of a GPU.
PUBLISHED_ON = (
    ("i7-13700K", "float32", ""),
    ("H100", "bfloat16", "Flash Attention 2"),
    ("H100", "float32", "SDPA"),
    ("RTX 3090", "bfloat16", "Flash Attention 2"),
)


@dataclass(frozen=True, slots=True)
class EttinModel:
    """A reranker of the Ettin release; figures from its model card.

    Args:
        alias: Its name for `-r`.
        revision: The pinned commit on the hub.
        parameters: Trunk and head together.
        ndcg10: Published mean nDCG@10 over MTEB(eng, v2) retrieval, the top 100 of six embedders
            reranked.
        nanobeir: Published mean nDCG@10 over NanoBEIR, the top 100 of BM25 reranked.
        speeds: Published speeds, on each of PUBLISHED_ON.
    """

    alias: str
    hub_id: str
    revision: str
    parameters: int
    ndcg10: float
    nanobeir: float
    speeds: tuple[PublishedSpeed, ...]
    max_tokens: int = 7999


def _ettin(
    alias: str, revision: str, parameters: int, quality: tuple[float, float], *pairs_per_s: float
) -> EttinModel:
    hub_id = f"cross-encoder/ettin-reranker-{alias}-v1"
    speeds = tuple(
        PublishedSpeed(*on, rate) for on, rate in zip(PUBLISHED_ON, pairs_per_s, strict=True)
    )
    return EttinModel(alias, hub_id, revision, parameters, *quality, speeds)


# fmt: off
ETTIN_MODELS = {
    model.alias: model
    for model in (
        _ettin("17m", "9e4aa35321a6dd1a43ca313f500c4b4f7cfb5cc6", 16_863_745, (0.5576, 0.6746),
               267.4, 7517, 4402, 9008),
        _ettin("32m", "b33e5ceb5110773ea9cf5e00c9bedc83a8c2afdd", 32_031_745, (0.5779, 0.6825),
               92.5, 6602, 3307, 4497),
        _ettin("68m", "d166fa88ddde3c42bc3ee92f7df476d941c8204a", 68_408_321, (0.5915, 0.6915),
               31.2, 4913, 1364, 1916),
        _ettin("150m", "025501c4e0f9bbeb4c5b198318e0089ff061cc14", 149_606_401, (0.5994, 0.7086),
               14.0, 3237, 671, 982),
        _ettin("400m", "5dca36282a5d85f368d2544002513a29159b4c9e", 395_833_345, (0.6091, 0.7193),
               5.2, 1738, 266, 429),
        _ettin("1b", "7d20e9baad17016fdf5549c08f69a2d7ca3e60c3", 1_031_267_329, (0.6114, 0.7237),
               2.1, 928, 112, 189),
    )
}
# fmt: on


def ettin_model(name: str) -> EttinModel | None:
    """Return the model of the release with an alias or hub id."""
    return next((one for one in ETTIN_MODELS.values() if name in (one.alias, one.hub_id)), None)


AUTO_RERANKER = "32m"

MINILM_ID = "sentence-transformers/all-MiniLM-L6-v2"
MINILM_REVISION = "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


@dataclass(frozen=True, slots=True)
class EmbedderModel:
    """A known embedder; figures from its model card and MTEB's registry.

    Args:
        alias: Its name for `--embedder`.
        revision: The pinned commit on the hub; None: the newest.
        max_tokens: Maximum tokens read of a text; None: no limit.
        ndcg10: Published mean nDCG@10 over MTEB(eng, v2) retrieval, without reranking.
        query_prompt: Prefix of queries if the model's own files define no prompts.
        document_prompt: Prefix of passages, likewise.
        matryoshka: Dimensions that the model was trained to be truncated to.
        own_code: Whether it runs its own code, which must be trusted.
    """

    alias: str
    hub_id: str
    revision: str | None
    parameters: int
    dimension: int
    max_tokens: int | None
    licence: str
    ndcg10: float | None = None
    query_prompt: str = ""
    document_prompt: str = ""
    matryoshka: tuple[int, ...] = ()
    own_code: bool = False


EMBEDDERS = {
    model.alias: model
    for model in (
        EmbedderModel(
            alias="static-mrl",
            hub_id="sentence-transformers/static-retrieval-mrl-en-v1",
            revision="f60985c706f192d45d218078e49e5a8b6f15283a",
            parameters=31_254_528,
            dimension=1024,
            max_tokens=None,
            licence="Apache-2.0",
            ndcg10=0.3495,
            matryoshka=(1024, 512, 256, 128, 64, 32),
        ),
        EmbedderModel(
            alias="minilm",
            hub_id=MINILM_ID,
            revision=MINILM_REVISION,
            parameters=22_713_216,
            dimension=384,
            max_tokens=256,
            licence="Apache-2.0",
            ndcg10=0.4292,
        ),
        EmbedderModel(
            alias="bge-small",
            hub_id="BAAI/bge-small-en-v1.5",
            revision="5c38ec7c405ec4b44b94cc5a9bb96e735b38267a",
            parameters=33_400_000,
            dimension=384,
            max_tokens=512,
            licence="MIT",
            ndcg10=0.5149,
            query_prompt="Represent this sentence for searching relevant passages: ",
        ),
        EmbedderModel(
            alias="nomic",
            hub_id="nomic-ai/nomic-embed-text-v1.5",
            revision=None,
            parameters=137_000_000,
            dimension=768,
            max_tokens=8192,
            licence="Apache-2.0",
            ndcg10=0.5226,
            query_prompt="search_query: ",
            document_prompt="search_document: ",
            matryoshka=(768, 512, 256, 128, 64),
        ),
        EmbedderModel(
            alias="embeddinggemma",
            hub_id="google/embeddinggemma-300m",
            revision=None,
            parameters=307_581_696,
            dimension=768,
            max_tokens=2048,
            licence="Gemma terms of use",
            ndcg10=0.5463,
            query_prompt="task: search result | query: ",
            document_prompt="title: none | text: ",
            matryoshka=(768, 512, 256, 128),
        ),
        EmbedderModel(
            alias="jina-v5-small",
            hub_id="jinaai/jina-embeddings-v5-text-small-retrieval",
            revision=None,
            parameters=677_000_000,
            dimension=1024,
            max_tokens=32_768,
            licence="CC BY-NC 4.0",
            ndcg10=0.598,
            query_prompt="Query: ",
            document_prompt="Document: ",
            matryoshka=(1024, 768, 512, 256, 128, 64, 32),
        ),
        EmbedderModel(
            alias="lfm2-embedding",
            hub_id="LiquidAI/LFM2.5-Embedding-350M",
            revision="f35ae2c91d687658dbf1f2b449382f0b019b9808",
            parameters=354_483_968,
            dimension=1024,
            max_tokens=512,
            licence="LFM Open License v1.0",
            query_prompt="query: ",
            document_prompt="document: ",
            own_code=True,
        ),
    )
}


def cache_folder() -> Path:
    """Return the package's cache folder: ETTIN_CACHE_DIR, else the platform's user cache."""
    if folder := os.environ.get("ETTIN_CACHE_DIR"):
        return Path(folder)
    import platformdirs

    return Path(platformdirs.user_cache_dir("ettin", appauthor=False))
