"""Front matter of Markdown: YAML or TOML at the start -> title, searchable lines and metadata."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, time
from functools import cache
from typing import Any, ClassVar

from ettin_cli.corpus.records import RecordError, shallow
from ettin_cli.settings import MAX_FRONT_MATTER

# Fields whose values are searched, beside the title.
SEARCHED = frozenset(
    """alias aliases tag tags keyword keywords category categories description summary subtitle
    abstract author authors""".split()
)
MAX_DECIMAL_BITS = 10_000
MAX_DOTS = 500
# Exceptions of PyYAML for values that are not of the type that they state.
UNREADABLE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
_FENCES = {"---": ("---", "..."), "+++": ("+++",)}
_KEY = re.compile(r"([\w\"'][^:#]{0,80}?)\s*:(?:\s|$)")
_CONTINUED = re.compile(r"\s|$|#|-\s|[\[{}\]]")
_NUMBER = r"[-+]?(?:0|[1-9][0-9]{0,17})"


@dataclass(frozen=True, slots=True)
class FrontMatter:
    """What a document says about itself before its text.

    Args:
        lines: The number of lines it takes.
        title: "" if it has none.
        searched: The fields to search as lines of text, each with its 1-based line in the file.
        metadata: Every field, as JSON values.
    """

    lines: int = 0
    title: str = ""
    searched: tuple[tuple[str, int], ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)


def front_matter(text: str) -> FrontMatter:
    r"""Return the front matter at the start of a text; that of no lines if there is none.

    A field that is not valid YAML is taken as written. Text between two rules that has no fields
    is not front matter.

    >>> front_matter('---\ntitle: "A guide"\ntags: [a, b]\n---\nText').searched
    (('tags: a, b', 3),)
    """
    first, _, rest = text.partition("\n")
    ends = _FENCES.get(first.rstrip(), ())
    lines: list[str] = []
    size = 0
    for line in _lines(rest):
        if line.rstrip() in ends:
            break
        lines.append(line)
        size += len(line) + 1
        if size > MAX_FRONT_MATTER:
            return FrontMatter()
    else:
        return FrontMatter()
    fields = _toml(lines) if "+++" in ends else _yaml(lines)
    try:
        return FrontMatter() if fields is None else _front_matter(lines, fields)
    except (RecordError, RecursionError):
        # It is nested too deeply to be stored as metadata, so it stays text.
        return FrontMatter()


def _lines(text: str) -> Iterator[str]:
    begin = 0
    while begin < len(text):
        end = text.find("\n", begin)
        end = len(text) if end < 0 else end
        yield text[begin:end]
        begin = end + 1


def _front_matter(lines: list[str], fields: dict[str, Any]) -> FrontMatter:
    metadata = {name: shallow(_plain(value), name) for name, value in fields.items()}
    title = next((as_text(metadata[one]) for one in metadata if one.lower() == "title"), "")
    searched = []
    for name, value in metadata.items():
        if name.lower() in SEARCHED and (shown := as_text(value)):
            searched.append((f"{name}: {shown}", _line_of(name, lines) + 2))
    return FrontMatter(len(lines) + 2, title, tuple(searched), metadata)


def _line_of(name: str, lines: list[str]) -> int:
    """Return the line on which a field begins."""
    found = (at for at, line in enumerate(lines) if line.strip("\"' ").startswith(name))
    return next(found, 0)


def as_text(value: object) -> str:
    """Return a value as a line of text: the elements of a list with commas.

    >>> as_text(["a", {"name": "b", "age": 3}, None])
    'a, b 3'
    """
    if isinstance(value, Mapping):
        return " ".join(filter(None, map(as_text, value.values())))
    if isinstance(value, list):
        return ", ".join(filter(None, map(as_text, value)))
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else " ".join(str(value).split())


def _plain(value: object) -> Any:
    """Return a value of YAML or TOML as JSON has it: dates as text, keys as strings."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_plain(item) for item in value]
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        # Python writes no longer numbers in decimals.
        return str(value) if value.bit_length() < MAX_DECIMAL_BITS else hex(value)
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def _toml(lines: Sequence[str]) -> dict[str, Any] | None:
    """Return the fields of TOML; None if it is not valid.

    The parser takes memory of the square of the length of a dotted key.
    """
    import tomllib

    if any(line.partition("=")[0].count(".") > MAX_DOTS for line in lines):
        return None
    try:
        return tomllib.loads("\n".join(lines))
    except (ValueError, RecursionError):
        return None


def _yaml(lines: list[str]) -> dict[str, Any] | None:
    """Return the fields of YAML; None if it has none. Empty lines alone are an empty mapping."""
    if not any(line.strip() for line in lines):
        return {}
    try:
        parsed = _parsed("\n".join(lines))
    except ValueError:
        return _field_by_field(lines)
    if parsed is None:
        return {}
    return {str(name): value for name, value in parsed.items()} if _is_fields(parsed) else None


def _is_fields(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(name, (str, int, float, bool)) for name in value
    )


def _field_by_field(lines: list[str]) -> dict[str, Any] | None:
    """Return the fields of what is not valid YAML; an invalid value is taken as written.

    None if a line neither begins a field nor continues one.
    """
    fields: dict[str, list[str]] = {}
    name = ""
    for line in lines:
        if key := _KEY.match(line):
            name = key.group(1).strip("\"'")
            fields[name] = [line[key.end() :]]
        elif _CONTINUED.match(line):
            fields.setdefault(name, []).append(line)
        else:
            return None
    fields.pop("", None)
    return {name: _value(value) for name, value in fields.items()}


def _value(lines: list[str]) -> Any:
    written = "\n".join(lines)
    try:
        parsed = _parsed(f"value: {written}")
        return parsed["value"]
    except (ValueError, TypeError, KeyError):
        return " ".join(written.split()).strip("\"'")


def _parsed(text: str) -> Any:
    """Return YAML as values.

    Raises:
        ValueError: It is not valid, refers to other values, or is nested too deeply.
    """
    import yaml

    try:
        return yaml.load(text, _loader())
    except (yaml.YAMLError, *UNREADABLE) as error:
        raise ValueError(str(error)) from error


@cache
def _loader() -> Any:
    """Return PyYAML's safe loader with the scalars of YAML 1.2, and without references.

    By YAML 1.1, `no` would be false, and 12:30 the number 750. References can expand a few lines to
    gigabytes.
    """
    import yaml

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        yaml_implicit_resolvers: ClassVar[dict[str, list[Any]]] = {}

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise yaml.YAMLError("a reference")
            return super().compose_node(parent, index)

    def number(loader: Any, node: Any) -> float | str:
        value = float(node.value)
        return value if repr(value) == node.value else str(node.value)

    for tag, pattern, begins in (
        ("null", r"~|null|Null|NULL|", [*"~nN", ""]),
        ("bool", r"true|True|TRUE|false|False|FALSE", [*"tTfF"]),
        ("int", _NUMBER, [*"-+0123456789"]),
        ("float", rf"{_NUMBER}\.[0-9]{{1,17}}", [*"-+0123456789"]),
    ):
        resolver = re.compile(rf"(?:{pattern})\Z")
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", resolver, begins)
    Loader.add_constructor("tag:yaml.org,2002:float", number)
    return Loader
