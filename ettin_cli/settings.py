"""Defaults, the models known by name with their pinned revisions, and where things are kept."""

import os
from dataclasses import dataclass
from pathlib import Path

INDEX_FORMAT = 2
DEFAULT_INDEX = ".ettin"
INDEXES = "indexes"
TOP_K = 10
CANDIDATES = 100
# What becomes of a text that is longer than a reranker reads.
TRUNCATE, MAX = "truncate", "max"
LONG = (TRUNCATE, MAX)
HUB_TIMEOUT_S = 3.0
HUB_FAILURE_REMEMBERED_S = 600.0

# What a document may take, so that a hostile one costs a bounded time and memory. It is rejected
# with the reason; SECURITY.md says what these limits are worth.
MIB = 1 << 20
MAX_TEXT_BYTES = 128 * MIB
MAX_JSON_BYTES = 256 * MIB
MAX_RECORD_BYTES = 128 * MIB
MAX_MARKUP_BYTES = 64 * MIB
MAX_UNPACKED_BYTES = 1024 * MIB
MAX_COLUMNS = 10_000
MAX_PAGES = 50_000


@dataclass(frozen=True, slots=True)
class EttinModel:
    """A reranker of the Ettin release; figures from its model card.

    Args:
        alias: What `-r` takes for it.
        revision: The commit on the hub that is fetched.
        parameters: Trunk and head together.
        ndcg10: Published mean nDCG@10 over MTEB(eng, v2) retrieval, top 100 reranked.
        cpu_pairs_per_s: Published speed on an i7-13700K in fp32, pairs a second.
        gpu_pairs_per_s: Published speed on an H100 in bf16 with Flash Attention 2.
    """

    alias: str
    hub_id: str
    revision: str
    parameters: int
    ndcg10: float
    cpu_pairs_per_s: float
    gpu_pairs_per_s: int
    max_tokens: int = 7999


def _ettin(
    alias: str, revision: str, parameters: int, ndcg10: float, cpu: float, gpu: int
) -> EttinModel:
    hub_id = f"cross-encoder/ettin-reranker-{alias}-v1"
    return EttinModel(alias, hub_id, revision, parameters, ndcg10, cpu, gpu)


ETTIN_MODELS = {
    model.alias: model
    for model in (
        _ettin("17m", "9e4aa35321a6dd1a43ca313f500c4b4f7cfb5cc6", 16_863_745, 0.5576, 267.4, 7517),
        _ettin("32m", "b33e5ceb5110773ea9cf5e00c9bedc83a8c2afdd", 32_031_745, 0.5779, 92.5, 6602),
        _ettin("68m", "d166fa88ddde3c42bc3ee92f7df476d941c8204a", 68_408_321, 0.5915, 31.2, 4913),
        _ettin("150m", "025501c4e0f9bbeb4c5b198318e0089ff061cc14", 149_606_401, 0.5994, 14.0, 3237),
        _ettin("400m", "5dca36282a5d85f368d2544002513a29159b4c9e", 395_833_345, 0.6091, 5.2, 1738),
        _ettin("1b", "7d20e9baad17016fdf5549c08f69a2d7ca3e60c3", 1_031_267_329, 0.6114, 2.1, 928),
    )
}
AUTO_RERANKER = "32m"

MINILM_ID = "sentence-transformers/all-MiniLM-L6-v2"
MINILM_REVISION = "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def cache_folder() -> Path:
    """Return the folder of our own cache: ETTIN_CACHE_DIR, else the platform's user cache."""
    if folder := os.environ.get("ETTIN_CACHE_DIR"):
        return Path(folder)
    import platformdirs

    return Path(platformdirs.user_cache_dir("ettin", appauthor=False))
