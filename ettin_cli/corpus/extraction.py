"""A separate process that finds the main content of pages with trafilatura.

The answer to a request is an object with the text, which is empty if none is found.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from ettin_cli.corpus.child import serve


def answers(request: dict[str, Any]) -> Iterator[dict[str, str]]:
    """Yield the text of the main content of the page of a request."""
    import trafilatura

    try:
        text = trafilatura.extract(request["page"], favor_recall=True, include_comments=True)
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError):
        text = ""
    yield {"text": text or ""}


if __name__ == "__main__":
    serve(answers, int(sys.argv[1]))
