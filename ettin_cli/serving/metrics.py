"""Counts and times of a server, in the text format of Prometheus."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping

from ettin_cli import __version__
from ettin_cli.runtime import Lock
from ettin_cli.serving.scheduler import Load

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Counts requests by route, dialect and status, and the seconds that they took."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.cut = 0
        self._lock = Lock()
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._seconds: dict[str, list[int]] = {}
        self._sums: Counter[str] = Counter()
        self._rejected: Counter[str] = Counter()

    def count(self, route: str, dialect: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        with self._lock:
            self._requests[route, dialect, status] += 1
            buckets = self._seconds.setdefault(route, [0] * (len(BOUNDS) + 1))
            buckets[bisect_left(BOUNDS, seconds)] += 1
            self._sums[route] += seconds  # type: ignore[assignment]

    def count_rejected(self, reason: str) -> None:
        """Count a request that was refused as the queue was full or its time was over."""
        with self._lock:
            self._rejected[reason] += 1

    def count_cut(self, texts: int) -> None:
        """Count texts that were cut at a token limit."""
        with self._lock:
            self.cut += texts

    def text(
        self,
        loads: Mapping[tuple[str, str], Load],
        indexes: Mapping[str, Mapping[str, float]],
    ) -> str:
        """Return all metrics.

        Args:
            loads: The schedulers', by the task and the name of a model.
            indexes: Figures of each index, by name.
        """
        with self._lock:
            lines = [*self._lines(), *_model_lines(loads), *_index_lines(indexes)]
            return "\n".join([*lines, ""])

    def _lines(self) -> Iterator[str]:
        yield "# TYPE ettin_build_info gauge"
        yield f'ettin_build_info{{version="{__version__}"}} 1'
        yield "# TYPE ettin_uptime_seconds gauge"
        yield f"ettin_uptime_seconds {time.monotonic() - self.started:.3f}"
        yield "# TYPE ettin_requests_total counter"
        for (route, dialect, status), number in sorted(self._requests.items()):
            labels = f'route="{route}",dialect="{dialect}",status="{status}"'
            yield f"ettin_requests_total{{{labels}}} {number}"
        yield "# TYPE ettin_request_seconds histogram"
        for route, buckets in sorted(self._seconds.items()):
            below = 0
            for bound, number in zip([*map(str, BOUNDS), "+Inf"], buckets, strict=True):
                below += number
                yield f'ettin_request_seconds_bucket{{route="{route}",le="{bound}"}} {below}'
            yield f'ettin_request_seconds_sum{{route="{route}"}} {self._sums[route]:.6f}'
            yield f'ettin_request_seconds_count{{route="{route}"}} {below}'
        yield "# TYPE ettin_texts_cut_total counter"
        yield f"ettin_texts_cut_total {self.cut}"
        yield "# TYPE ettin_rejected_total counter"
        for reason, number in sorted(self._rejected.items()):
            yield f'ettin_rejected_total{{reason="{reason}"}} {number}'
        if memory := _resident_bytes():
            yield "# TYPE process_resident_memory_bytes gauge"
            yield f"process_resident_memory_bytes {memory}"


def _model_lines(loads: Mapping[tuple[str, str], Load]) -> Iterator[str]:
    names = {
        "ettin_items_total": ("counter", "computed"),
        "ettin_tokens_total": ("counter", "computed_tokens"),
        "ettin_items_shared_total": ("counter", "shared"),
        "ettin_items_cancelled_total": ("counter", "cancelled"),
        "ettin_queue_requests": ("gauge", "jobs"),
        "ettin_queue_items": ("gauge", "items"),
        "ettin_queue_tokens": ("gauge", "tokens"),
        "ettin_tokens_per_second": ("gauge", "pace"),
    }
    for name, (kind, field) in names.items():
        yield f"# TYPE {name} {kind}"
        for (task, model), load in loads.items():
            value = getattr(load, field)
            yield f'{name}{{task="{task}",model="{_label(model)}"}} {value:.12g}'


def _index_lines(indexes: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    for figure in dict.fromkeys(figure for figures in indexes.values() for figure in figures):
        yield f"# TYPE ettin_index_{figure} gauge"
        for name, figures in indexes.items():
            if figure in figures:
                yield f'ettin_index_{figure}{{index="{_label(name)}"}} {figures[figure]:.12g}'


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _resident_bytes() -> int:
    """Return the memory of this process; 0 if unknown."""
    import os

    try:
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return 0
