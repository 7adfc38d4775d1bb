"""The state of the search page, as it is in its address. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from ettin_cli.serving.search_requests import filter_parts, search_body

FILTER = "f"
# The parameters of `/v1/search` that are a state, in the order in which they are in an address.
NAMES = ("q", "index", FILTER, "path", "by", "retriever", "reranker", "candidates", "top_k")
TOP_K = 10
# How many hits a page shows, and then after "More results".
STEPS = (TOP_K, 20, 50, 100)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a visitor of the page asks for.

    Args:
        pairs: Names and values of the address; several filters may have the same field.
    """

    pairs: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str]]) -> Asked:
        """Return the state in the parameters of an address; the others are left out.

        >>> Asked.of([("q", "ferry"), ("f", "port:west"), ("token", "x"), ("path", "")]).pairs
        (('q', 'ferry'), ('f', 'port:west'))
        """
        found: dict[tuple[str, str], None] = {}
        for name, value in pairs:
            if name in NAMES and value.strip():
                if name != FILTER:
                    found = {pair: None for pair in found if pair[0] != name}
                found[name, value] = None
        return cls(tuple(sorted(found, key=lambda pair: NAMES.index(pair[0]))))

    def value(self, name: str) -> str:
        """Return the value of a name; empty without one."""
        return next((value for key, value in self.pairs if key == name), "")

    def having(self, name: str, value: str) -> Asked:
        """Return the state with another value of a name, or with one more filter."""
        return Asked.of([*self.pairs, (name, value)])

    def without(self, *names: str, filtering: str | None = None) -> Asked:
        """Return the state without these names, and without a filter."""
        return Asked(
            tuple(
                pair for pair in self.pairs if pair[0] not in names and pair != (FILTER, filtering)
            )
        )

    def url(self, base: str = "/") -> str:
        """Return the address of the state.

        >>> Asked.of([("q", "west port"), ("f", "port:west")]).url()
        '/?q=west+port&f=port%3Awest'
        """
        return f"{base}?{urlencode(self.pairs)}" if self.pairs else base

    @property
    def filters(self) -> list[tuple[str, str, str]]:
        """Each filter as in the address, with its field and value."""
        texts = [value for name, value in self.pairs if name == FILTER]
        # What has no colon is refused by the search, and the page shows it all the same.
        return [(text, *(filter_parts(text) if ":" in text else (text, ""))) for text in texts]

    @property
    def top_k(self) -> int:
        """How many hits are asked for."""
        given = self.value("top_k")
        return int(given) if given.isascii() and given.isdigit() and len(given) < 9 else TOP_K

    def body(self) -> dict[str, Any]:
        """Return the body of the request to `/v1/search`.

        >>> Asked.of([("q", "ferry"), ("f", "port:west"), ("top_k", "20")]).body()
        {'query': 'ferry', 'filters': {'port': ['west']}, 'top_k': 20, 'facets': True}
        """
        return {**search_body(self.pairs), "facets": True}


def filter_of(field: str, value: str) -> str:
    """Return a filter as it is in an address: colons in the field are escaped.

    >>> filter_of("port", "west:1"), filter_of("a:b", "c")
    ('port:west:1', 'a%3Ab:c')
    """
    return f"{field.replace('%', '%25').replace(':', '%3A')}:{value}"


def hit_url(hit: Mapping[str, Any], asked: Asked, answer: Mapping[str, Any]) -> str:
    """Return the address of a hit in the reader, with the hits that are before and after it."""
    hits = ".".join(str(one["passage_id"]) for one in answer["hits"])
    place = [("hits", hits), ("in", answer["index"]["generation"])]
    state = [pair for pair in asked.pairs if pair[0] != "index"]
    return f"{hit['url']}&{urlencode([*state, *place])}#passage"


def document_url(index: str, doc_id: str, asked: Asked) -> str:
    """Return the address of a document in the reader."""
    state = [pair for pair in asked.pairs if pair[0] != "index"]
    return f"/read?{urlencode([('index', index), ('id', doc_id), *state])}"


def editor_url(template: str, path: str, line: int) -> str:
    """Return the address that opens a file in an editor.

    >>> editor_url("vscode://file//home/me/{path}:{line}", "my notes/a.md", 3)
    'vscode://file//home/me/my%20notes/a.md:3'
    """
    escaped = quote(path, safe="/!*'()")
    return template.replace("{line}", str(line)).replace("{path}", escaped)
