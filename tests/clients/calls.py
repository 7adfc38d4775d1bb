"""The requests that every client sends, and what comes back, as lines of JSON on stdout."""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

QUERY = "when does the ferry sail"
TEXTS = [
    "Bread is baked at noon.",
    "The ferry sails at nine o'clock from the western pier.",
    "Größe und Gewicht: 3 kg — 日本語も",
    "It sails daily.",
    "Knead the dough for ten minutes and let it rest.",
    "a" * 3000,
]


@dataclass(frozen=True)
class Ask:
    """A request to rerank.

    Args:
        top_n: The number of results; None: all.
        returned: Whether the texts should come back.
    """

    url: str
    model: str
    query: str
    texts: list[str]
    top_n: int | None = None
    returned: bool = False

    def at(self, text: str) -> int:
        """Return the position of a text that came back."""
        return self.texts.index(text)


# The index of a text, its score, and the text if it came back.
Row = tuple[int, float, str | None]
Client = Callable[[Ask], list[Row]]


def cases(url: str, model: str) -> dict[str, Ask]:
    """Return the requests by name."""
    plain = Ask(url, model, QUERY, TEXTS)
    return {
        "all": plain,
        "two": replace(plain, top_n=2),
        "returned": replace(plain, returned=True),
        "empty query": replace(plain, query=" "),
        "unknown model": replace(plain, model="unknown"),
        "unknown path": replace(plain, url=f"{url}/nowhere"),
    }


def main(
    clients: Mapping[str, Client], more: Mapping[str, Callable[[str], Any]] | None = None
) -> None:
    """Call the server at the URL in the first argument by each client, with the second's model."""
    url, model = sys.argv[1:3]
    for name, client in clients.items():
        for case, ask in cases(url, model).items():
            _report(name, case, lambda client=client, ask=ask: client(ask))  # type: ignore[misc]
    for name, call in (more or {}).items():
        _report(name, "more", lambda call=call: call(url))  # type: ignore[misc]


def _report(name: str, case: str, call: Callable[[], Any]) -> None:
    line: dict[str, Any] = {"client": name, "case": case}
    try:
        line["rows"] = call()
    except Exception as error:
        # Some clients put the answer in fields that they do not print.
        line["error"] = f"{type(error).__name__}: {error} {getattr(error, 'body', '')}"
    print(json.dumps(line), flush=True)  # noqa: T201
