"""A separate process that recognises the text of pictures and of pages of PDFs, by RapidOCR.

A request is a line of JSON on stdin. The answer is a line with the number of pages, a line per
page, [number, text, fault], and an object, with the reason if the rest cannot be read. The text
is null for a sparse page that is no scan.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ettin_cli.corpus.child import serve
from ettin_cli.corpus.page_pixels import LONG_SIDE, Pages, opened_pages
from ettin_cli.corpus.reading_order import ordered_text
from ettin_cli.storage import UnreadableError, opened

if TYPE_CHECKING:
    from ettin_cli.corpus.page_pixels import Pixels

# Lines are found in a picture that has been scaled down to this side.
DETECTED_SIDE = 1600
# Smaller pictures are icons.
LEAST_SIDE = 48
# Less certain lines are left out; a page of such lines may be upside down.
CERTAIN, UPRIGHT = 0.5, 0.8
# The narrow side of a picture is padded to this part of the long one.
NARROWEST = 8


@dataclass(frozen=True, slots=True)
class Line:
    """A recognised piece of a line: its corners, clockwise, and how certain it is, up to 1."""

    corners: list[tuple[float, float]]
    text: str
    score: float


class Engine:
    """RapidOCR with the models of its package.

    Args:
        threads: Number of threads.
        detected_side: Lines are found in a picture scaled down to this side.
    """

    def __init__(self, threads: int, detected_side: int = DETECTED_SIDE) -> None:
        # ONNX Runtime would send telemetry unless this is set at its first import.
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        import cv2
        import rapidocr

        cv2.setNumThreads(threads)
        models = Path(rapidocr.__file__).parent / "models"
        self.read: Any = rapidocr.RapidOCR(
            params={
                "Global.log_level": "critical",
                "Global.max_side_len": LONG_SIDE,
                "Global.text_score": 0.0,
                # It turns single lines of upright pages upside down.
                "Global.use_cls": False,
                # With paths, nothing is downloaded.
                "Det.model_path": str(_model(models, "det")),
                "Rec.model_path": str(_model(models, "rec")),
                "Det.limit_type": "max",
                "Det.limit_side_len": detected_side,
                "EngineConfig.onnxruntime.intra_op_num_threads": threads,
                "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            }
        )

    def text(self, pixels: Pixels) -> str:
        """Return the text of a picture in reading order; empty if there is none.

        A page that is upside down or on its side is turned.

        Args:
            pixels: Blue, green and red of each pixel.
        """
        import numpy as np

        best = self._lines(_padded(pixels))
        turns = (1, 3) if _is_sideways(best) else (2,) if _certainty(best) < UPRIGHT else ()
        for turn in turns:
            turned = self._lines(_padded(np.ascontiguousarray(np.rot90(pixels, turn))))
            best = max(best, turned, key=_certainty)
        return ordered_text([(line.corners, line.text) for line in best if line.score >= CERTAIN])

    def _lines(self, pixels: Pixels) -> list[Line]:
        found = self.read(pixels)
        if found.boxes is None:
            return []
        return list(map(Line, found.boxes.tolist(), found.txts, found.scores))


def _is_sideways(lines: Sequence[Line]) -> bool:
    """Return whether most lines run up or down."""
    upwards = [math.dist(*line.corners[:2]) < math.dist(*line.corners[1:3]) for line in lines]
    return sum(upwards) > len(upwards) / 2


def _certainty(lines: Sequence[Line]) -> float:
    """Return how certain the characters of a page are, on average."""
    characters = sum(len(line.text) for line in lines)
    return sum(len(line.text) * line.score for line in lines) / (characters or 1)


def _model(folder: Path, kind: str) -> Path:
    return next(iter(sorted(folder.glob(f"*_{kind}_*.onnx"))))


def _padded(pixels: Pixels) -> Pixels:
    """Return a narrow picture with a margin, since its sides are made multiples of 32 pixels."""
    import numpy as np

    height, width = pixels.shape[:2]
    least = max(height, width) // NARROWEST
    margins = [(max(0, least - side) // 2,) * 2 for side in (height, width)]
    return np.pad(pixels, (*margins, (0, 0)), mode="edge") if least > min(height, width) else pixels


def _answers(request: Mapping[str, Any], engine: Callable[[], Engine]) -> Iterator[Any]:
    """Yield the number of pages, the wanted ones (by default all), and an object."""
    path, sparse = Path(request["path"]), set(request["sparse"])
    try:
        with opened(path) as file, opened_pages(path, file) as pages:
            yield len(pages)
            for number in request["pages"] or range(1, len(pages) + 1):
                if number in sparse and not pages.is_scan(number):
                    yield [number, None, ""]
                else:
                    yield [number, *_text(pages, number, engine)]
        yield {}
    except UnreadableError as error:
        yield {"reason": str(error)}


def _text(pages: Pages, number: int, engine: Callable[[], Engine]) -> tuple[str, str]:
    """Return the text of a page, and the reason if it cannot be read."""
    try:
        pixels = pages.pixels(number)
        blank = max(pixels.shape) < LEAST_SIDE or pixels.min() == pixels.max()
        return "" if blank else engine().text(pixels), ""
    except UnreadableError as error:
        return "", str(error)
    except MemoryError:
        return "", "takes too much memory"


if __name__ == "__main__":
    engine = cache(partial(Engine, int(sys.argv[2])))
    serve(partial(_answers, engine=engine), int(sys.argv[1]), each=True)
