"""Calibrations beside an index: INDEX/calibrations/RERANKER.json."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ettin_cli.calibration.fitting import Bin, Calibration
from ettin_cli.errors import CalibrationError, OutputError
from ettin_cli.hub import ModelFiles, weights_hash
from ettin_cli.settings import TRUNCATE
from ettin_cli.stand_in import formula
from ettin_cli.storage import replacing

CALIBRATIONS = "calibrations"
CALIBRATION_FORMAT = 1


def save(
    folder: Path,
    files: ModelFiles,
    max_tokens: int,
    calibration: Calibration,
    *,
    long: str = TRUNCATE,
) -> Path:
    """Keep a calibration beside an index, in place of an older one, and return its file.

    Args:
        folder: The index's.
        files: The reranker whose scores it is for.
        max_tokens: What that reads of a pair.
        long: How it scores longer texts.

    Raises:
        OutputError: It cannot be written.
    """
    import orjson

    body = {
        "format": CALIBRATION_FORMAT,
        "reranker": _identity(files, max_tokens, long),
        "calibration": asdict(calibration),
    }
    path = _path(folder, files)
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


def load(folder: Path, files: ModelFiles, max_tokens: int, *, long: str = TRUNCATE) -> Calibration:
    """Return the calibration of an index for a reranker.

    Raises:
        CalibrationError: There is none, it is damaged, or it was made for another revision,
            other weights, another token limit or another way with longer texts.
    """
    if not is_calibrated(folder, files):
        raise not_calibrated(folder, files, long=long)
    path = _path(folder, files)
    fields = _fields(folder, files, long)
    body = _read(path, fields)
    made_for, wanted = body["reranker"], _identity(files, max_tokens, long)
    if made_for != wanted:
        differences = [
            f"{name} {made_for.get(name)} instead of {value}"
            for name, value in wanted.items()
            if made_for.get(name) != value
        ]
        raise CalibrationError(
            f"{path} was made for a reranker of {', '.join(differences)}", **fields
        )
    found = body["calibration"]
    return Calibration(**{**found, "reliability": [Bin(**one) for one in found["reliability"]]})


def is_calibrated(folder: Path, files: ModelFiles) -> bool:
    """Say whether an index has a calibration for a reranker of this name, fit or unfit."""
    return _path(folder, files).exists()


def not_calibrated(folder: Path, files: ModelFiles, *, long: str = TRUNCATE) -> CalibrationError:
    """Return the error for an index without a calibration."""
    fields = _fields(folder, files, long)
    return CalibrationError(f"{folder} has no calibration for {files.name}", **fields)


def _read(path: Path, fields: Mapping[str, Any]) -> dict[str, Any]:
    import orjson

    try:
        body: dict[str, Any] = orjson.loads(path.read_bytes())
        whole = body.pop("checksum") == _seal(body)
        version = body["format"]
    except OSError as error:
        raise CalibrationError(f"cannot read {path}: {error.strerror}", **fields) from error
    except (orjson.JSONDecodeError, KeyError, AttributeError, TypeError) as error:
        raise CalibrationError(f"{path} is damaged", **fields) from error
    if isinstance(version, int) and version > CALIBRATION_FORMAT:
        raise CalibrationError(
            f"{path} has format {version}, newer than the {CALIBRATION_FORMAT} read here",
            code="newer-format",
            path=path,
            format=version,
        )
    if not whole:
        raise CalibrationError(f"{path} is damaged", **fields)
    return body


def _seal(body: Mapping[str, Any]) -> str:
    import orjson
    import xxhash

    return xxhash.xxh3_128_hexdigest(orjson.dumps(body, option=orjson.OPT_SORT_KEYS))


def _identity(files: ModelFiles, max_tokens: int, long: str) -> dict[str, Any]:
    """Return what makes two rerankers the same, as far as their scores go."""
    scored_by = formula(files)
    return {
        "name": _name(files),
        "revision": files.revision,
        "weights": weights_hash(files.folder),
        **({"formula": scored_by} if scored_by else {}),
        "max_tokens": max_tokens,
        "long": long,
    }


def _name(files: ModelFiles) -> str:
    """Return a model's name; of a folder the last part, so that another way to it is the same."""
    return files.folder.resolve().name if Path(files.name) == files.folder else files.name


def _path(folder: Path, files: ModelFiles) -> Path:
    return folder / CALIBRATIONS / f"{re.sub(r'[^A-Za-z0-9._-]+', '--', _name(files))}.json"


def _fields(folder: Path, files: ModelFiles, long: str) -> dict[str, Any]:
    """Return what a calibration would have to be made for."""
    return {"folder": folder, "reranker": files.name, "long": long}
