"""`ettin serve` searches indexes: the hits of the command line, as JSON and as a stream."""

import asyncio
import json
import os
import re
import stat
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import numpy as np
import pytest

import ettin_cli
from ettin_cli.index import Index
from ettin_cli.models.engines import EngineSettings
from ettin_cli.records import Silence
from ettin_cli.searching.calibration import fit, save
from ettin_cli.serving import ScheduledModels, ServedIndex, Watch
from tests.conftest import Ettin
from tests.serving import Reply, Server, scores_of

RECORDS: list[dict[str, Any]] = [
    {"_id": "ferry", "text": "The ferry sails at nine from the west pier.", "port": "west"},
    {"_id": "boat", "text": "The night boat sails from the east pier.", "port": ["east", "north"]},
    {"_id": "bread", "text": "Bread is baked at noon.\nThe ferry crew eats it.", "year": 2024},
]
# What the ids of records in a folder begin with.
R = "records.jsonl#"
GUIDE = "# Harbour\n\nThe ferry has a bell.\n\n## Fares\n\nA child pays five.\nDogs travel free.\n"
OPTIONS = [
    {"query": "ferry"},
    {"query": "ferry", "top_k": 2, "reranker": "none"},
    {"query": "when does the ferry sail", "retriever": "bm25", "by": "passage", "candidates": 3},
    {"query": 'sails -"night boat"', "retriever": "dense", "blend": 0.3},
    {"query": "the ferry sails", "blend": "auto"},
    {"query": "ferry", "blend": 0},
    {"query": "pier", "filters": {"port": ["east", "west"]}, "fold": "none", "expand": True},
    {"query": "ferry", "path": "*.md", "min_score": -100},
    {"query": "ferry", "path": ["*.md", "*.jsonl"], "reranker": "embedded:3,embedded"},
]


def write(folder: Path) -> None:
    (folder / "docs").mkdir(exist_ok=True)
    lines = "".join(json.dumps(record) + "\n" for record in RECORDS)
    (folder / "docs" / "records.jsonl").write_text(lines)
    (folder / "docs" / "guide.md").write_text(GUIDE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    write(folder)
    with ettin_cli.Session(offline=True) as session:
        session.build(folder / "docs", into=folder / "notes", embedder="embedded")
        other = [{"_id": "moon", "text": "The moon is far."}]
        session.build(documents=other, into=folder / "sky", embedder="embedded")
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    running = Server(folder, "-r", "embedded", "-i", "notes", "-i", "sky")
    running.until("sky is open")
    yield running
    running.kill()


@pytest.fixture(scope="module")
def key(folder: Path, server: Server) -> dict[str, str]:
    file = folder / "cache" / "serve-token"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    return {"Authorization": f"Bearer {file.read_text().strip()}"}


@pytest.fixture(scope="module")
def session() -> Iterator[ettin_cli.Session]:
    with ettin_cli.Session(offline=True) as opened:
        yield opened


def asked(session: ettin_cli.Session, folder: Path, body: dict[str, Any]) -> dict[str, Any]:
    """Return the answer of Python to the same search."""
    options = dict(body)
    opened = {n: options.pop(n) for n in ("reranker", "retriever", "expand") if n in options}
    query, path = options.pop("query"), options.pop("path", [])
    opened.setdefault("reranker", "embedded")
    with session.open(folder / "notes", **opened) as index:
        paths = [path] if isinstance(path, str) else path
        return index.search(query, paths=paths, **options).to_dict()


def comparable(answer: dict[str, Any]) -> dict[str, Any]:
    """Return an answer without times, and without what only the server tells."""
    added = {"id", "url", "highlights", "path"}
    hits = [{k: v for k, v in hit.items() if k not in added} for hit in answer["hits"]]
    apart = {"seconds", "index", "facets", "hits", "warnings"}
    return {**{k: v for k, v in answer.items() if k not in apart}, "hits": hits}


def events(reply: Reply) -> list[tuple[str, dict[str, Any]]]:
    blocks = reply.content.decode().strip().split("\n\n")
    found = [re.fullmatch("event: (.+)\ndata: (.+)", block) for block in blocks]
    return [(match[1], json.loads(match[2])) for match in found if match]


@pytest.mark.parametrize("body", OPTIONS, ids=lambda body: " ".join(body))
def test_a_search_has_the_hits_of_python_and_streams_its_stages(
    server: Server, session: ettin_cli.Session, folder: Path, key: dict[str, str], body: Any
) -> None:
    reply = server.ask("/v1/search", body, key)
    answer = reply.json()
    assert reply.status == 200, answer
    wanted = comparable(asked(session, folder, body))
    assert comparable(answer) == wanted
    stages = events(server.ask("/v1/search", {**body, "stream": True}, key))
    assert [name for name, _ in stages] == ["retrieved", "reranked", "done"]
    assert comparable(stages[1][1]) == wanted
    alone = {k: v for k, v in body.items() if k not in ("blend", "min_score")}
    first = asked(session, folder, {**alone, "reranker": "none"})
    shown = [(hit["doc_id"], hit["score"]) for hit in stages[0][1]["hits"]]
    assert shown == [(hit["doc_id"], hit["score"]) for hit in first["hits"]][: len(shown)]
    assert stages[0][1]["reranker"] == "none"


def test_an_answer_has_what_a_page_shows(server: Server, key: dict[str, str]) -> None:
    answer = server.ask("/v1/search?q=ferries&f=port:west&facets=true&top_k=3", headers=key).json()
    [hit] = answer["hits"]
    assert [hit["text"][mark["start"] : mark["end"]] for mark in hit["highlights"]] == ["ferry"]
    assert answer["facets"] == {"port": [{"value": "west", "count": 1}]}
    assert answer["index"]["name"] == "notes"
    target = urlsplit(hit["url"])
    wanted = {"index": ["notes"], "id": [f"{R}ferry"], "passage": [str(hit["passage_id"])]}
    assert (target.path, parse_qs(target.query)) == ("/read", wanted)


def test_a_filter_that_nothing_passes_is_told(server: Server, key: dict[str, str]) -> None:
    body = {"query": "ferry", "filters": {"nofield": "a"}, "path": "*.txt"}
    told = [
        "no document passes `filters`",
        "`path` matches no file: it is compared with paths below a source",
    ]
    answer = server.ask("/v1/search", body, key).json()
    assert (answer["hits"], answer["warnings"]) == ([], told)
    stages = events(server.ask("/v1/search", {**body, "stream": True}, key))
    assert stages[-1][1]["warnings"] == told
    mistyped = server.ask("/v1/search", {"query": "ferry", "topk": 4}, key).json()
    assert mistyped["warnings"] == ["no effect: `topk`"]


def test_several_queries_have_an_answer_each(server: Server, key: dict[str, str]) -> None:
    body = {"query": ["ferry", "bread"], "index": "notes", "top_k": 1, "nonsense": 1}
    answers = server.ask("/v1/search", body, key).json()["answers"]
    assert [answer["hits"][0]["doc_id"] for answer in answers] == [f"{R}ferry", f"{R}bread"]
    assert answers[0]["warnings"] == ["no effect: `nonsense`"]
    moon = server.ask("/v1/search", {"query": "moon", "index": "sky"}, key).json()
    assert [hit["doc_id"] for hit in moon["hits"]] == ["moon"]


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        ({"query": ""}, 400, "`query` is empty"),
        ({"query": ["a", 3]}, 400, "`query` must be a string, not a number"),
        ({"query": "a", "top_k": 0}, 400, "`top_k` must be from 1 to 1,000, not 0"),
        ({"query": "a", "by": "page"}, 400, "unknown unit of hits 'page'"),
        ({"query": "a", "retriever": "magic"}, 400, "unknown retriever 'magic'"),
        ({"query": "a", "blend": "x"}, 400, "`blend` must be a number, not a string"),
        ({"query": "a", "blend": 0.5, "reranker": "none"}, 400, "blending needs a reranker"),
        ({"query": "a", "filters": ["x"]}, 400, "`filters` must be an object of fields"),
        ({"query": "-ferry"}, 400, "the query contains only exclusions"),
        ({"query": "a", "reranker": "1b"}, 404, "reranker '1b' is not served; embedded, none"),
        ({"query": "a", "reranker": "embedded:x"}, 404, "reranker 'embedded:x' is not served"),
        ({"query": "a", "index": "secret"}, 404, "index 'secret' is not served; notes, sky"),
        ({"query": ["a"], "stream": True}, 400, "a stream answers one query"),
        ({"query": "a", "blend": 7, "stream": True}, 400, "blend 7 is not between 0 and 1"),
        ({"query": "a", "min_probability": 0.5}, 400, "notes has no calibration for embedded"),
    ],
)
def test_a_wrong_search_is_told_what_is_wrong(
    server: Server, key: dict[str, str], body: object, status: int, told: str
) -> None:
    reply = server.ask("/v1/search", body, key)
    assert (reply.status, told in reply.json()["message"]) == (status, True), reply.content


def test_a_document_is_shown_as_it_was_indexed(
    server: Server, folder: Path, key: dict[str, str]
) -> None:
    whole = server.ask("/v1/documents/guide.md", headers=key).json()
    assert whole["text"].split("\n") == GUIDE.rstrip("\n").split("\n")
    assert (whole["lines"], whole["total_lines"]) == ([1, 8], 8)
    part = server.ask("/v1/documents/guide.md?lines=7-99", headers=key).json()
    assert (part["text"], part["lines"]) == ("A child pays five.\nDogs travel free.", [7, 8])
    record = server.ask(f"/v1/documents/{quote(R)}bread", headers=key).json()
    assert (record["text"], record["metadata"]) == (str(RECORDS[2]["text"]), {"year": 2024})
    for hit in server.ask("/v1/search?q=ferry", headers=key).json()["hits"]:
        found = server.ask(f"/v1/documents/{quote(hit['id'])}", headers=key).json()
        assert (found["id"], found["text"]) == (hit["doc_id"], hit["text"])


WRONG = [
    "..",
    "../../etc/passwd",
    "%2e%2e/%2e%2e/etc/passwd",
    "/etc/passwd",
    "C:%5Cwin.ini",
    "a%00b",
]


@pytest.mark.parametrize("doc_id", WRONG)
def test_an_id_names_no_file(server: Server, key: dict[str, str], doc_id: str) -> None:
    reply = server.ask(f"/v1/documents/{doc_id}", headers=key)
    assert (reply.status, b"root:" in reply.content) == (404, False)


def test_an_unknown_document_names_the_nearest(server: Server, key: dict[str, str]) -> None:
    reply = server.ask("/v1/documents/guide.txt", headers=key)
    assert (reply.status, reply.json()["nearest"][0]) == (404, "guide.md")
    beyond = server.ask("/v1/documents/guide.md?lines=40-50", headers=key)
    assert beyond.status == 400
    assert "line 40 is beyond the last line, 8" in beyond.json()["message"]


def test_an_index_tells_what_it_holds(server: Server, key: dict[str, str]) -> None:
    listed = server.ask("/v1/indexes", headers=key).json()["data"]
    assert [(one["name"], one["documents"], one["stale"]) for one in listed] == [
        ("notes", 4, 0),
        ("sky", 1, 0),
    ]
    one = server.ask("/v1/indexes/notes", headers=key).json()
    assert (one["sources"], one["embedder"]) == (["docs"], "embedded")


def test_openai_searches_an_index_as_a_vector_store(server: Server, key: dict[str, str]) -> None:
    east = {"type": "eq", "key": "port", "value": "east"}
    west = {**east, "value": "west"}
    body = {
        "query": "pier",
        "max_num_results": 5,
        "filters": {"type": "or", "filters": [east, west]},
    }
    page = server.ask("/v1/vector_stores/notes/search", body, key).json()
    assert {row["file_id"] for row in page["data"]} == {f"{R}ferry", f"{R}boat"}
    assert page["data"][0]["content"][0]["type"] == "text"
    scores = [row["score"] for row in page["data"]]
    assert 0 < scores[1] <= scores[0] < 1
    least = {**body, "ranking_options": {"score_threshold": scores[0]}}
    kept = server.ask("/v1/vector_stores/notes/search", least, key).json()["data"]
    assert [row["score"] for row in kept] == [score for score in scores if score >= scores[0]]
    stores = server.ask("/v1/vector_stores", headers=key).json()["data"]
    assert [store["id"] for store in stores] == ["notes", "sky"]


def nested(depth: int) -> dict[str, Any]:
    inner: dict[str, Any] = {"type": "eq", "key": "port", "value": "west"}
    for _ in range(depth):
        inner = {"type": "and", "filters": [inner]}
    return inner


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"filters": {"type": "gt"}}, "'gt' are not supported"),
        ({"filters": {"type": "and", "filters": ["port=west", [1]]}}, "must be an object"),
        ({"filters": {"type": "or", "filters": [nested(0), {}]}}, "type None"),
        ({"filters": {"type": "and", "filters": []}}, "must be a list of filters"),
        ({"filters": nested(400)}, "nested more than 16 deep"),
        ({"max_num_results": 0}, "`max_num_results` must be from 1 to 50"),
        ({"ranking_options": {"score_threshold": "x"}}, "`score_threshold` must be a number"),
    ],
)
def test_a_filter_is_understood_or_refused_as_a_whole(
    server: Server, key: dict[str, str], body: dict[str, Any], told: str
) -> None:
    reply = server.ask("/v1/vector_stores/notes/search", {"query": "a", **body}, key)
    assert (reply.status, told in reply.json()["message"]) == (400, True), reply.content


PAGE = {"Accept": "text/html"}
READING = [
    "/v1/search?q=ferry",
    "/v1/indexes",
    "/v1/indexes/notes",
    "/v1/documents/guide.md",
    "/v1/vector_stores",
]


@pytest.mark.parametrize("path", READING)
def test_what_reads_an_index_needs_the_token(
    server: Server, key: dict[str, str], path: str
) -> None:
    assert server.ask(path, headers=key).status == 200
    assert server.ask(path, headers={"X-API-Key": key["Authorization"][7:]}).status == 200
    assert server.ask(path, headers={"Authorization": key["Authorization"][7:]}).status == 200
    wrong: list[dict[str, str]] = [{}, {"Authorization": "Bearer x"}, {"Cookie": "ettin=x"}]
    for method in ("GET", "HEAD"):
        replies = [server.ask(path, headers=headers, method=method) for headers in wrong]
        assert [reply.status for reply in replies] == [401] * 3
    assert server.ask("/rerank", {"query": "a", "documents": ["b"]}).status == 200


def test_no_answer_without_the_token_tells_of_an_index(server: Server, key: dict[str, str]) -> None:
    for method in ("GET", "HEAD"):
        for path in ("/", "/?q=ferry", "/?token=x"):
            assert server.ask(path, headers=PAGE, method=method).status == 401
    for path in ("/metrics", "/ready", "/info", "/v1/models", "/openapi.json", "/health"):
        assert b"notes" not in server.ask(path).content
    assert b'ettin_index_passages{index="notes"}' in server.ask("/metrics", headers=key).content


def test_the_link_signs_one_browser_in(server: Server) -> None:
    code = server.until(r"search page: \S+\?token=(\S+)")
    first = server.ask(f"/?token={code}&q=ferry")
    assert (first.status, first.headers["location"]) == (303, "/?q=ferry")
    cookie, *attributes = first.headers["set-cookie"].split("; ")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(attributes)
    assert server.ask("/v1/search?q=ferry", headers={"Cookie": cookie}).status == 200
    assert server.ask(f"/?token={code}").status == 401
    # The browser that was signed in may open it again.
    again = server.ask(f"/?token={code}", headers={"Cookie": cookie})
    assert (again.status, again.headers["location"]) == (303, "/")
    evil = {"Host": "evil.example"}
    assert server.ask(f"/?token={code}", headers=evil).status == 421


def test_a_newer_generation_is_searched_next_and_answers_are_never_mixed(
    server: Server, folder: Path, key: dict[str, str]
) -> None:
    before = Index(folder / "sky").manifest.generation
    texts = {before: "The moon is far."}
    seen: list[tuple[str, str]] = []
    stop = threading.Event()

    def search() -> None:
        while not stop.is_set():
            found = server.ask("/v1/search", {"query": "moon", "index": "sky"}, key).json()
            seen.append((found["index"]["generation"], found["hits"][0]["text"]))

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    with ettin_cli.Session(offline=True) as session:
        for number in range(5):
            text = f"The moon is {number} days old."
            made = session.build(documents=[{"_id": "moon", "text": text}], into=folder / "sky")
            assert made.manifest
            texts[made.manifest.generation] = text
            found = server.ask("/v1/search", {"query": "moon", "index": "sky"}, key).json()
            newest = (found["index"]["generation"], found["hits"][0]["text"])
            assert newest == (made.manifest.generation, text)
    stop.set()
    for thread in threads:
        thread.join()
    assert seen
    assert [texts[generation] for generation, _ in seen] == [text for _, text in seen]


def test_a_removed_or_damaged_index_is_told_and_the_server_lives(
    folder: Path, ettin: Ettin, tmp_path: Path
) -> None:
    write(tmp_path)
    assert ettin("index", "docs", "--embedder", "embedded", "--offline").code == 0
    server = Server(tmp_path, "-r", "none", "--embedder", "embedded", "--no-token")
    try:
        assert server.until("4 documents, embedder embedded")
        asked = {"query": "ferry"}
        found = server.ask("/v1/search", asked).json()
        assert (found["index"]["name"], found["reranker"]) == (tmp_path.name, "none")
        manifest = tmp_path / ".ettin" / "manifest.json"
        whole = manifest.read_bytes()
        manifest.write_bytes(whole[:-100])
        damaged = server.ask("/v1/search", asked)
        assert (damaged.status, "damaged" in damaged.json()["message"]) == (503, True)
        manifest.unlink()
        gone = server.ask("/v1/search", asked)
        assert (gone.status, "no index" in gone.json()["message"]) == (404, True)
        manifest.write_bytes(whole)
        assert server.ask("/v1/search", asked).status == 200
    finally:
        server.kill()


def test_a_damaged_index_costs_only_its_own_searches(tmp_path: Path) -> None:
    with ettin_cli.Session(offline=True) as session:
        for name in ("whole", "broken"):
            session.build(documents=RECORDS, into=tmp_path / name, embedder="embedded")
    [passages] = (tmp_path / "broken").rglob("passages.arrow")
    content = passages.read_bytes()
    passages.write_bytes(b"")
    server = Server(tmp_path, "-r", "embedded", "-i", "whole", "-i", "broken", "--no-token")
    try:
        server.until("broken cannot be searched: .*passages.arrow has 0 bytes")
        assert server.ask("/ready").json() == {"status": "ready"}
        assert server.ask("/rerank", {"query": "a", "documents": ["b"]}).status == 200
        assert server.ask("/v1/search?q=ferry").json()["index"]["name"] == "whole"
        assert server.ask("/v1/search?q=ferry&index=broken").status == 503
        whole, broken = server.ask("/v1/indexes").json()["data"]
        assert (whole["documents"], "0 bytes" in broken["error"]) == (3, True)
        page = server.ask("/?q=ferry&index=whole", headers=PAGE)
        assert page.status == 200
        assert b"0 bytes" in page.content
        passages.write_bytes(content)
        assert server.ask("/v1/search?q=ferry&index=broken").status == 200
    finally:
        server.kill()


def test_a_server_that_ends_ends_its_update(tmp_path: Path) -> None:
    write(tmp_path)
    settings = EngineSettings()
    with ettin_cli.Session(settings, offline=True) as session:
        session.build(tmp_path / "docs", into=tmp_path / "notes", embedder="embedded")
        models = ScheduledModels(session.models, [])
        index = ServedIndex("notes", tmp_path / "notes", models)
        watch = Watch(index, settings, offline=True, reporter=Silence())
        (tmp_path / "docs" / "new.md").write_text("New.")
        pid = tmp_path / "pid"
        code = f"import os,pathlib,time; pathlib.Path({str(pid)!r}).write_text(str(os.getpid()))"
        watch._command = [sys.executable, "-c", f"{code}; time.sleep(600)"]

        async def run() -> None:
            running = asyncio.create_task(watch.run())
            while not (pid.exists() and pid.read_text()):
                await asyncio.sleep(0.02)
            assert watch.state["updating"]
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

        asyncio.run(run())
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_changed_sources_are_indexed_while_the_server_runs(tmp_path: Path) -> None:
    write(tmp_path)
    with ettin_cli.Session(offline=True) as session:
        session.build(tmp_path / "docs", into=tmp_path / ".ettin", embedder="embedded")
    (tmp_path / "docs" / "early.md").write_text("Whales were seen before the start.")
    server = Server(tmp_path, "-r", "none", "--no-token", "--watch", "--offline")
    try:
        server.until(r"\.ettin: 5 documents")
        (tmp_path / "docs" / "late.md").write_text("Seals were seen later.")
        server.until(r"\.ettin: 6 documents")
        hits = server.ask("/v1/search?q=seals").json()["hits"]
        assert hits[0]["doc_id"] == "late.md"
        (tmp_path / "docs").rename(tmp_path / "elsewhere")
        server.until(f"{tmp_path.name} was not updated: source .*docs no longer exists")
        [index] = server.ask("/v1/indexes").json()["data"]
        assert (index["documents"], "docs" in index["watch"]["failed"]) == (6, True)
        metrics = server.ask("/metrics").content.decode()
        assert f'ettin_index_update_failed{{index="{tmp_path.name}"}} 1\n' in metrics
    finally:
        server.kill()


def test_scores_are_probabilities_where_an_index_is_calibrated(tmp_path: Path) -> None:
    with ettin_cli.Session(offline=True) as session:
        session.build(documents=RECORDS, into=tmp_path / "notes", embedder="embedded")
        resolved = session.models.find_reranker("embedded")
        model = session.reranker("embedded")
        texts = [str(record["text"]) for record in RECORDS]
        raw = model.score([("ferry", text) for text in texts]).values
        limit = session.models.reranker(resolved).card.max_tokens
    scores = np.linspace(-5, 5, 200, dtype=np.float32)
    fitted = fit(scores, scores > 1, [str(at % 20) for at in range(200)])
    save(tmp_path / "notes", resolved, limit, fitted)
    server = Server(tmp_path, "-r", "embedded", "-i", "notes")
    try:
        reply = server.ask("/rerank", {"query": "ferry", "documents": texts})
        wanted = [round(value, 6) for value in fitted.probability(raw).tolist()]
        assert scores_of(reply) == wanted
        scale = {"scale": "probability"}
        assert reply.json()["meta"]["score"] == scale
        assert server.ask("/info").json()["ettin"]["score"] == scale
        body = {"query": "ferry", "documents": texts, "raw_scores": True}
        assert scores_of(server.ask("/rerank", body)) == raw.tolist()
    finally:
        server.kill()
