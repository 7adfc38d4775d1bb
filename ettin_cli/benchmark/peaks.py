"""The peak speed of large matrix products on a device, by the fastest installed library."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ettin_cli.models.engines import (
    BACKENDS,
    EngineSettings,
    Graph,
    Library,
    WrittenModel,
    cpu_has_bf16,
    usable_cores,
)

if TYPE_CHECKING:
    from ettin_cli.records import Floats

FLOAT32, BFLOAT16, FLOAT16 = "float32", "bfloat16", "float16"
SETTING = {FLOAT32: "fp32", BFLOAT16: "bf16", FLOAT16: "fp16"}
CPU_SIZE, GPU_SIZE = 1536, 8192
# Several products per run, so that a library's overhead hardly counts.
PRODUCTS, ROUNDS = 4, 5
ROWS, OUT = "rows", "out"


@dataclass(frozen=True, slots=True)
class Peak:
    """The peak speed of matrix products.

    Args:
        gflops: 10^9 operations per second.
        library: The library that reaches it.
    """

    gflops: float
    library: str


Work = Callable[[], object]


def matmul_peaks(device: str, threads: int | None) -> dict[str, Peak]:
    """Return the peak in float32 and in every narrower dtype that the device supports.

    Args:
        threads: CPU threads; None: one per core.
    """
    size = CPU_SIZE if device.startswith("cpu") else GPU_SIZE
    return {dtype: _peak(_ways(device, dtype, size, threads), size) for dtype in _dtypes(device)}


def _dtypes(device: str) -> list[str]:
    import torch

    if device.startswith("cuda"):
        able = torch.cuda.is_bf16_supported(including_emulation=False)
        return [FLOAT32, *([BFLOAT16] if able else []), FLOAT16]
    return [FLOAT32, *([BFLOAT16] if device.startswith("cpu") and cpu_has_bf16() else [])]


def _ways(device: str, dtype: str, size: int, threads: int | None) -> Iterator[tuple[str, Work]]:
    """Yield the libraries that multiply in a dtype, each with a function that runs the products."""
    yield "torch", _by_torch(device, dtype, size)
    if not device.startswith("cpu"):
        return
    if dtype == FLOAT32 and threads is None:
        # NumPy's number of threads cannot be set.
        yield "NumPy", _by_numpy(size)
    cores = threads or usable_cores()
    settings = EngineSettings("cpu", SETTING[dtype])
    for backend in BACKENDS:
        if backend.installed() and backend.problem(settings) is None:
            library = backend.library(settings)
            if library is not None:
                yield backend.title, _by_graph(library, size, cores)


def _peak(ways: Iterator[tuple[str, Work]], size: int) -> Peak:
    best = min((_least_seconds(work), library) for library, work in ways)
    return Peak(2 * PRODUCTS * size**3 / best[0] / 1e9, best[1])


def _least_seconds(work: Work) -> float:
    def once() -> float:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    work()
    return min(once() for _ in range(ROUNDS))


def _by_torch(device: str, dtype: str, size: int) -> Work:
    import torch

    matrix = torch.full((size, size), 1 / size, device=device, dtype=getattr(torch, dtype))

    def work() -> float:
        rows = matrix
        for _ in range(PRODUCTS):
            rows = rows @ matrix
        return rows[0, 0].item()

    return work


def _by_numpy(size: int) -> Work:
    matrix = _matrix(size)

    def work() -> Floats:
        rows = matrix
        for _ in range(PRODUCTS):
            rows = rows @ matrix
        return rows

    return work


def _by_graph(library: Library, size: int, threads: int) -> Work:
    """Return a function that runs the products like a model: one batch, all threads."""
    import numpy as np

    graph, shape = Graph(plain=library.plain), [ROWS, "columns"]
    # The input selects rows of a table, like a model's token ids.
    rows = graph.rows_of(_matrix(size), ROWS)
    for _ in range(PRODUCTS):
        rows = graph.linear(rows, _matrix(size))
    graph.output(OUT, rows, shape)
    written = WrittenModel(graph.model({ROWS: shape[:1]}), graph.weights, graph.tables)
    run = library.load(written, threads, True).begin()
    which = np.arange(size, dtype=np.int64)
    return lambda: run.compute([OUT], {ROWS: which})


def _matrix(size: int) -> Floats:
    import numpy as np

    return np.full((size, size), 1 / size, np.float32)
