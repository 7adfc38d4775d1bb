"""The names of a dataset repository's files and its card -> the files of a part and split.

The card's YAML names the files of each configuration and split (`configs:`), as the hub reads it.
Without it, files are named by convention: `corpus/test-00000-of-00002.parquet`, `corpus.jsonl.gz`,
`qrels/test.tsv` or `test.tsv`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from ettin_cli.errors import CorpusError

CARD = "README.md"
TABLES = (".parquet", ".jsonl", ".jsonl.gz", ".tsv", ".tsv.gz", ".csv", ".json")
# The configurations that hold a part, the first that exists.
CORPUS = ("corpus",)
QUERIES = ("query", "queries")
JUDGEMENTS = ("default", "qrels")
CANDIDATES = ("bm25",)
ALONE, DEFAULT = "train", "default"
SPLITS = ("train", "dev", "validation", "test")

# Older versions of `datasets` end the name with a hash.
_SHARD = re.compile(r"-\d{5}-of-\d{5}(-[0-9a-f]+)?$")
_FRONT = re.compile(r"\A---\s*\n(.*?)\n---\s*(\n|\Z)", re.DOTALL)

# Configuration -> split -> files.
Layout = Mapping[str, Mapping[str, Sequence[str]]]


def card_metadata(card: str) -> dict[str, Any]:
    """Return the YAML at the top of a dataset card; empty if there is none that can be read."""
    import yaml

    match = _FRONT.match(card)
    try:
        metadata = yaml.safe_load(match[1]) if match else None
    except yaml.YAMLError:
        return {}
    return metadata if isinstance(metadata, dict) else {}


def layout_of(files: Iterable[str], metadata: Mapping[str, Any]) -> Layout:
    """Return the files of each configuration and split: by the card, else by convention."""
    files = sorted(files)
    stated = _stated(files, metadata.get("configs"))
    return {**_conventional(files), **{name: splits for name, splits in stated.items() if splits}}


def configurations(files: Iterable[str], metadata: Mapping[str, Any]) -> Layout:
    """Return the files of each configuration and split as the hub shows them.

    These are the configurations of the card, and only without any those by convention. One of the
    card of which there are no files has no splits.
    """
    files = sorted(files)
    stated = _stated(files, metadata.get("configs"))
    return stated if any(stated.values()) else {**stated, **_conventional(files)}


def files_of(
    layout: Layout, configs: Sequence[str], split: str, *, exact: bool, name: str, repository: str
) -> Sequence[str]:
    """Return the files of the first of some configurations that exists.

    Args:
        exact: Whether only this split will do. If not, a configuration with a single split is
            taken by whatever name, as in mteb: a corpus is rarely split.
        name: The collection, for errors.
        repository: Where its files are.

    Raises:
        CorpusError: There is no such configuration or split; the message has those there are.
    """
    config = next((one for one in configs if layout.get(one)), None)
    if config is None:
        raise CorpusError(
            f"{name}: no {' or '.join(configs)} among the files of {repository}",
            code="not-a-collection",
        )
    splits = layout[config]
    for spelling in _spellings(split):
        if files := splits.get(spelling):
            return files
    if len(splits) == 1 and not exact:
        return next(iter(splits.values()))
    known = sorted(splits)
    raise CorpusError(
        f"{name}: {repository} has no split {split!r}; it has {', '.join(known)}",
        code="split-not-found",
        name=name,
        splits=known,
    )


def _spellings(split: str) -> Sequence[str]:
    both = ("dev", "validation")
    return (split, *(one for one in both if one != split)) if split in both else (split,)


def _stated(files: Sequence[str], configs: object) -> dict[str, dict[str, list[str]]]:
    """Return what the card's `configs` say; a configuration without files has no splits."""
    stated: dict[str, dict[str, list[str]]] = {}
    for config in configs if isinstance(configs, list) else ():
        if not isinstance(config, dict) or "config_name" not in config:
            continue
        name, folder, data_files = (
            config.get(key) for key in ("config_name", "data_dir", "data_files")
        )
        if data_files is not None:
            splits = _matching(files, _patterns(data_files), folder)
        elif folder is not None:
            splits = _within(files, str(folder))
        else:
            splits = _conventional(files).get(str(name), {})
        stated[str(name)] = splits
    return stated


def _matching(
    files: Sequence[str], patterns: Mapping[str, Sequence[str]], folder: object
) -> dict[str, list[str]]:
    """Return the files of each split that match its globs, which are relative to a folder."""
    within = _parts(str(folder or ""))
    splits = {
        split: [
            file
            for file in files
            if _is_data(file)
            and any(_matches(_parts(file), [*within, *_parts(glob)]) for glob in globs)
        ]
        for split, globs in patterns.items()
    }
    return {split: found for split, found in splits.items() if found}


def _within(files: Sequence[str], folder: str) -> dict[str, list[str]]:
    """Return the tables in a folder by the split in their names; without one they are `train`."""
    within = _parts(folder)
    found: dict[str, list[str]] = {}
    for suffix in TABLES:
        splits: dict[str | None, list[str]] = defaultdict(list)
        for file in files:
            parts = _parts(file)
            if file.endswith(suffix) and parts[: len(within)] == within:
                words = re.split(r"[^a-z]+", "/".join(parts[len(within) :]).lower())
                splits[next((one for one in words if one in SPLITS), None)].append(file)
        _add(found, splits)
    return found


def _patterns(data_files: object) -> dict[str, list[str]]:
    """Return the globs of each split; `data_files` has four forms."""
    patterns: dict[str, list[str]] = defaultdict(list)
    if isinstance(data_files, dict):
        data_files = [{"split": split, "path": path} for split, path in data_files.items()]
    for entry in data_files if isinstance(data_files, list) else [data_files]:
        split, path = ALONE, entry
        if isinstance(entry, dict):
            split, path = str(entry.get("split", ALONE)), entry.get("path")
        paths = path if isinstance(path, list) else [path]
        patterns[split] += [one for one in paths if isinstance(one, str)]
    return patterns


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _is_data(file: str) -> bool:
    name = file.rpartition("/")[2]
    return name != CARD and not name.startswith(".")


def _matches(parts: Sequence[str], globs: Sequence[str]) -> bool:
    """Return whether a path matches a glob; `**` matches any number of folders."""
    if not globs:
        return not parts
    if globs[0] == "**":
        return any(_matches(parts[at:], globs[1:]) for at in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], globs[0]) and _matches(parts[1:], globs[1:])


def _conventional(files: Sequence[str]) -> dict[str, dict[str, list[str]]]:
    """Return what the names of files say; of a split in several formats, the first."""
    found: dict[str, dict[str, list[str]]] = defaultdict(dict)
    for suffix in TABLES:
        named: dict[str, dict[str | None, list[str]]] = defaultdict(lambda: defaultdict(list))
        for file in files:
            if file.endswith(suffix) and file.count("/") < 2:
                stem = _SHARD.sub("", file.removesuffix(suffix))
                config, split = _config_and_split(stem)
                named[config][split].append(file)
        for config, splits in named.items():
            _add(found[config], splits)
    return dict(found)


def _add(found: dict[str, list[str]], splits: Mapping[str | None, list[str]]) -> None:
    """Add the splits of a format to those of the formats before.

    A file that names no split is one, unless a format before has splits: it may be a copy of all.
    """
    more: dict[str, list[str]] = defaultdict(list)
    for split, files in splits.items():
        if split or not found:
            more[split or ALONE] += files
    for split, files in more.items():
        found.setdefault(split, sorted(files))


def _config_and_split(stem: str) -> tuple[str, str | None]:
    folder, _, name = stem.rpartition("/")
    if folder:
        return (DEFAULT if folder == "data" else folder), name
    return (DEFAULT, name) if name in SPLITS else (name, None)
