"""The tools: arguments -> requests to the routes of a server -> answers of bounded size."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any
from urllib.parse import quote, urlencode

from ettin_cli.serving.mcp import contract
from ettin_cli.serving.mcp.fetching import LAST, range_of, read_part
from ettin_cli.serving.mcp.found import results
from ettin_cli.serving.mcp.routes import Caller, RouteError, Routes, document_path
from ettin_cli.serving.mcp.texts import BUDGET, SCHEME, address, at_address, longest, size

Answer = dict[str, Any]
Update = Callable[[list[str]], Awaitable[Answer]]
# Values of a metadata field that status shows.
MOST_VALUES = 20
# Sources of an index that status shows.
MOST_SOURCES = 20
# Errors of arguments in a message, and characters of each.
MOST_WRONG, MESSAGE = 10, 160
# Characters of a document that is read as a resource.
MAX_RESOURCE = 1 << 20


class ToolError(Exception):
    """A call that failed; the text says why, and what to do."""


class Tools:
    """The tools over the routes of a server.

    Args:
        routes: The routes.
        here: Returns the path of a file as the agent can use it.
        update: Updates the index; None: there is no such tool.
    """

    def __init__(
        self,
        routes: Routes,
        *,
        here: Callable[[str], str] = str,
        update: Update | None = None,
    ) -> None:
        self.routes, self.here = routes, here
        self._update = update
        self._passages: dict[str, tuple[str, int]] = {}
        self._calls: dict[str, Callable[[Answer, Caller], Awaitable[Answer]]] = {
            "search": self.search,
            "fetch": self.fetch,
            "rerank": self.rerank,
            "status": self.status,
        }
        self.listed = [contract.SEARCH, contract.FETCH, contract.RERANK, contract.STATUS]
        if update is not None:
            self._calls["update"] = self.update
            self.listed.append(contract.UPDATE)

    async def call(self, name: str, arguments: Mapping[str, Any], caller: Caller) -> Answer:
        """Return the answer of a tool.

        Raises:
            KeyError: There is no such tool.
            ToolError: The arguments are wrong, or the server refuses the request.
        """
        run = self._calls[name]
        schema = next(tool for tool in self.listed if tool["name"] == name)["inputSchema"]
        given = _checked(schema, arguments)
        try:
            return await run(given, caller)
        except RouteError as error:
            raise ToolError(error.message) from error

    async def search(self, given: Answer, caller: Caller) -> Answer:
        """Return the passages that answer a query."""
        asked = {
            "query": given["query"],
            "top_k": given["top_k"],
            "by": given["by"],
            **({"index": given["index"]} if "index" in given else {}),
            **({"filters": given["filters"]} if given.get("filters") else {}),
            **({"path": given["path"]} if given.get("path") else {}),
            **({} if given["rerank"] else {"reranker": "none"}),
        }
        body = await self.routes.post("/v1/search", asked, caller.report)
        searched = await self._searched(body["index"], caller)
        # An index that was named must be found again by the id alone.
        plain, shown = "index" not in given, partial(_shown, caller)
        for hit in body["hits"]:
            hit["path"] = hit["path"] and self.here(hit["path"])
        return results(body, given["max_chars"], searched, shown, plain=plain)

    async def _searched(self, index: Mapping[str, Any], caller: Caller) -> int:
        """Return the number of passages of an index, asked for once a generation."""
        name, generation = index["name"], index["generation"]
        if self._passages.get(name, ("", 0))[0] != generation:
            path = f"/v1/indexes/{quote(name, safe='')}"
            facts = await self.routes.get(path, caller.report)
            self._passages[name] = facts["generation"], facts["passages"]
        return self._passages[name][1]

    async def fetch(self, given: Answer, caller: Caller) -> Answer:
        """Return the text of a document, or of some of its lines."""
        index, named = at_address(given["id"])
        try:
            asked = range_of(given.get("lines"))
        except ValueError as error:
            raise ToolError(str(error)) from None
        body = await self.routes.get(
            document_path(named),
            caller.report,
            index=index,
            lines=str(asked) if asked else None,
        )
        place = {"index": body["index"]["name"], "id": body["id"]}
        page = f"/read?{urlencode(place)}"
        answer = read_part(body, named, asked, _shown(caller, place["index"], place["id"], page))
        return {**answer, "id": address(index, answer["id"])} if index else answer

    async def read(self, uri: str, caller: Caller) -> str:
        """Return the text of the document at a URI.

        Raises:
            ToolError: There is none.
        """
        index, doc_id = at_address(uri)
        if index is None:
            raise ToolError(f"{uri[:100]!r} is not the address of a document, {SCHEME}INDEX/ID")
        pieces: list[str] = []
        first, last = 0, 0
        try:
            while not pieces or first <= last:
                lines = f"{first}-{LAST}" if pieces else None
                path = document_path(doc_id)
                body = await self.routes.get(path, caller.report, index=index, lines=lines)
                pieces.append(body["text"])
                first = body["lines"][1] + 1
                # An id may be that of some lines.
                last = body["total_lines"] if doc_id == body["id"] else 0
                if sum(map(len, pieces)) > MAX_RESOURCE:
                    raise ToolError(
                        f"{doc_id} has more than {MAX_RESOURCE:,} characters; read it with fetch"
                    )
        except RouteError as error:
            raise ToolError(error.message) from error
        return "\n".join(pieces)

    async def rerank(self, given: Answer, caller: Caller) -> Answer:
        """Return the positions of texts, best first, with their scores."""
        asked = {
            "query": given["query"],
            "documents": given["texts"],
            "raw_scores": True,
            **({"top_n": given["top_n"]} if "top_n" in given else {}),
        }
        body = await self.routes.post("/v1/rerank", asked, caller.report)
        rows = [{"index": row["index"], "score": row["relevance_score"]} for row in body["results"]]
        warnings = body.get("meta", {}).get("warnings") or []
        note = {"note": "; ".join(warnings)} if warnings else {}
        return {"results": rows, "model": body["model"], **note}

    async def status(self, _given: Answer, caller: Caller) -> Answer:
        """Return what is indexed, and by which models texts are ordered."""
        indexes = (await self.routes.get("/v1/indexes", caller.report))["data"]
        models = (await self.routes.get("/v1/models", caller.report))["data"]

        def build(values: int) -> Answer:
            return {"indexes": [_outlined(one, values) for one in indexes], "models": models}

        answer, values = longest(build, MOST_VALUES)
        notes = []
        if values < MOST_VALUES:
            notes.append(f"only the {values} most frequent values of each field are shown")
        while len(indexes) > 1 and size(answer) > BUDGET:
            indexes = indexes[: len(indexes) // 2]
            answer = build(0)
            notes = [f"only the first {len(indexes)} indexes, without values of fields"]
        return {**answer, **({"note": "; ".join(notes)} if notes else {})}

    async def update(self, given: Answer, _caller: Caller) -> Answer:
        """Index what is new or has changed."""
        assert self._update
        return await self._update(given.get("paths", []))


def _shown(caller: Caller, index: str, doc_id: str, page: str) -> str:
    """Return the address of a document: its page, where there is one, else the resource.

    Args:
        page: Path and query of the page.
    """
    return caller.url + page if caller.url else address(index, doc_id)


def _outlined(index: Mapping[str, Any], values: int) -> Answer:
    """Return what is known of an index, with fewer sources and values of metadata fields."""
    sources = index["sources"]
    left_out = len(sources) - MOST_SOURCES
    if left_out > 0:
        sources = [*sources[:MOST_SOURCES], f"and {left_out:,} more"]
    fields = {name: counts[:values] for name, counts in (index.get("fields") or {}).items()}
    return {**index, "sources": sources, "fields": fields}


def _checked(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> Answer:
    """Return the arguments of a call with the defaults of those that are not given.

    Raises:
        ToolError: An argument is missing, unknown or wrong; all of them are named.
    """
    from jsonschema import Draft202012Validator

    given = {name: value for name, value in arguments.items() if value is not None}
    wrong = [
        ": ".join([*(str(part) for part in error.absolute_path), _ending(error.message)])
        for error in Draft202012Validator(schema).iter_errors(given)
    ]
    if wrong:
        raise ToolError("; ".join(sorted(wrong)[:MOST_WRONG]))
    defaults = {n: one["default"] for n, one in schema["properties"].items() if "default" in one}
    return {**defaults, **given}


def _ending(message: str) -> str:
    """Return the end of a message that begins with a value, which may be long."""
    return message if len(message) <= MESSAGE else f"…{message[-MESSAGE:]}"
