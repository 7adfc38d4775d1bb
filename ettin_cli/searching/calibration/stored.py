"""Calibrations stored in an index: INDEX/calibrations/RERANKER.json."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ettin_cli.errors import CalibrationError, OutputError
from ettin_cli.models.rerankers import ResolvedReranker
from ettin_cli.searching.calibration.fitting import Bin, Calibration
from ettin_cli.settings import TRUNCATE
from ettin_cli.storage import checksum, replacing

CALIBRATIONS = "calibrations"
CALIBRATION_FORMAT = 1


def save(
    folder: Path,
    reranker: ResolvedReranker,
    max_tokens: int,
    calibration: Calibration,
    *,
    long: str = TRUNCATE,
) -> Path:
    """Write a calibration to an index, replacing an older one, and return its path.

    Args:
        folder: The index folder.
        reranker: The reranker whose scores it maps.
        max_tokens: The reranker's token limit for a pair.
        long: How longer texts are scored.

    Raises:
        OutputError: The file cannot be written.
    """
    import orjson

    body = {
        "format": CALIBRATION_FORMAT,
        "reranker": _identity(reranker, max_tokens, long),
        "calibration": asdict(calibration),
    }
    path = _path(folder, reranker)
    try:
        path.parent.mkdir(exist_ok=True)
        with replacing(path) as draft:
            sealed = {**body, "checksum": _seal(body)}
            draft.write_bytes(orjson.dumps(sealed, option=orjson.OPT_INDENT_2) + b"\n")
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror}", code="index-unwritable", folder=folder
        ) from error
    return path


def calibration_checksum(folder: Path, reranker: ResolvedReranker) -> str | None:
    """Return the checksum of the calibration of an index for a reranker; None if it has none."""
    return checksum(_path(folder, reranker)) if is_calibrated(folder, reranker) else None


def load(
    folder: Path, reranker: ResolvedReranker, max_tokens: int, *, long: str = TRUNCATE
) -> Calibration:
    """Return the calibration of an index for a reranker.

    Raises:
        CalibrationError: It is missing or damaged, or was made for another revision, other
            weights, another token limit or another treatment of long texts.
    """
    if not is_calibrated(folder, reranker):
        raise not_calibrated(folder, reranker, long=long)
    path = _path(folder, reranker)
    fields = _fields(folder, reranker, long)
    body = _read(path, fields)
    made_for, wanted = body["reranker"], _identity(reranker, max_tokens, long)
    if made_for != wanted:
        differences = [
            f"{name} {made_for.get(name)} instead of {value}"
            for name, value in wanted.items()
            if made_for.get(name) != value
        ]
        raise CalibrationError(
            f"{path} is for a different reranker: {', '.join(differences)}", **fields
        )
    stored = body["calibration"]
    return Calibration(
        **{**stored, "reliability": [Bin(**values) for values in stored["reliability"]]}
    )


def is_calibrated(folder: Path, reranker: ResolvedReranker) -> bool:
    """Return whether an index has a calibration for this reranker, usable or not."""
    return _path(folder, reranker).exists()


def not_calibrated(
    folder: Path, reranker: ResolvedReranker, *, long: str = TRUNCATE
) -> CalibrationError:
    """Return the error for an index without a calibration."""
    fields = _fields(folder, reranker, long)
    return CalibrationError(f"{folder} has no calibration for {reranker.name}", **fields)


def _read(path: Path, fields: Mapping[str, Any]) -> dict[str, Any]:
    import orjson

    try:
        body: dict[str, Any] = orjson.loads(path.read_bytes())
        intact = body.pop("checksum") == _seal(body)
        version = body["format"]
    except OSError as error:
        raise CalibrationError(f"cannot read {path}: {error.strerror}", **fields) from error
    except (orjson.JSONDecodeError, KeyError, AttributeError, TypeError) as error:
        raise CalibrationError(f"{path} is damaged", **fields) from error
    if isinstance(version, int) and version > CALIBRATION_FORMAT:
        raise CalibrationError(
            f"{path} has format {version}, newer than the supported {CALIBRATION_FORMAT}",
            code="newer-format",
            path=path,
            format=version,
        )
    if not intact:
        raise CalibrationError(f"{path} is damaged", **fields)
    return body


def _seal(body: Mapping[str, Any]) -> str:
    import orjson
    import xxhash

    return xxhash.xxh3_128_hexdigest(orjson.dumps(body, option=orjson.OPT_SORT_KEYS))


def _identity(reranker: ResolvedReranker, max_tokens: int, long: str) -> dict[str, Any]:
    """Return what a reranker's scores depend on."""
    return {
        "name": reranker.stored_name,
        "revision": reranker.revision,
        **reranker.facts,
        "max_tokens": max_tokens,
        "long": long,
    }


def _path(folder: Path, reranker: ResolvedReranker) -> Path:
    return folder / CALIBRATIONS / f"{re.sub(r'[^A-Za-z0-9._-]+', '--', reranker.stored_name)}.json"


def _fields(folder: Path, reranker: ResolvedReranker, long: str) -> dict[str, Any]:
    """Return the error fields that identify the calibration."""
    return {"folder": folder, "reranker": reranker.name, "long": long}
