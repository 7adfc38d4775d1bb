"""`ettin serve` answers the clients of many services, over HTTP."""

import asyncio
import base64
import contextlib
import json
import math
import os
import re
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn

import ettin_cli
from ettin_cli.serving import Address, connections, listening
from tests.conftest import Ettin
from tests.serving import Server, scores_of

RECORDED = Path(__file__).parents[1].parent / "shared" / "serve_requests.jsonl"
QUERY = "when does the ferry sail"
TEXTS = ["Bread is at noon.", "The ferry sails at nine.", "", "Auks nest on the cliffs."]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    running = Server(folder, "-r", "embedded", "--embedder", "embedded", "--max-documents", "500")
    yield running
    running.kill()


@pytest.fixture(scope="module")
def session() -> Iterator[ettin_cli.Session]:
    with ettin_cli.Session(offline=True) as opened:
        yield opened


def sigmoid(score: float) -> float:
    return 1 / (1 + math.exp(-score)) if score > 0 else math.exp(score) / (1 + math.exp(score))


RERANK = ["/rerank", "/v1/rerank", "/v2/rerank", "/reranking", "/v1/reranking"]


@pytest.mark.parametrize("path", RERANK)
def test_scores_are_those_of_python_on_a_scale_from_0_to_1(
    server: Server, session: ettin_cli.Session, path: str
) -> None:
    raw = session.score([(QUERY, text) for text in TEXTS], reranker="embedded").values.tolist()
    asked = {"model": "embedded", "query": QUERY, "documents": TEXTS}
    reply = server.ask(path, asked)
    assert scores_of(reply) == [sigmoid(score) for score in raw]
    order = [row["index"] for row in reply.json()["results"]]
    assert order == sorted(range(len(raw)), key=lambda at: -raw[at])
    assert scores_of(server.ask(path, {**asked, "raw_scores": True})) == raw
    assert scores_of(server.ask(path, {**asked, "use_activation": False})) == raw
    tei = server.ask(path, {"query": QUERY, "texts": TEXTS, "raw_scores": True})
    assert scores_of(tei, "score") == raw


def test_scores_do_not_depend_on_other_requests(server: Server, session: ettin_cli.Session) -> None:
    pairs = [
        (f"query {n}", [f"text {n} {m} {'of the ferry ' * (m % 9)}" for m in range(3 + n)])
        for n in range(24)
    ]
    flat = [(query, text) for query, texts in pairs for text in texts]
    alone = dict(zip(flat, session.score(flat, reranker="embedded").values.tolist(), strict=True))

    def ask(pair: tuple[str, list[str]]) -> list[float]:
        query, texts = pair
        body = {"query": query, "documents": texts, "raw_scores": True}
        return scores_of(server.ask("/rerank", body))

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(ask, pairs))
    assert together == [[alone[query, text] for text in texts] for query, texts in pairs]


def test_a_warning_is_a_header_whatever_it_names(server: Server) -> None:
    names = {"a\x00\r\nSet-Cookie: x\x7f\x9b": 1, "\u202eх": 1}
    reply = server.ask("/rerank", {"query": QUERY, "documents": TEXTS, **names})
    assert (reply.status, "Set-Cookie" in reply.headers) == (200, False)
    warning = reply.headers["x-ettin-warning"]
    assert warning.isascii()
    assert warning.isprintable()
    assert reply.json()["meta"]["warnings"][0].startswith("no effect: `")


def test_the_description_has_every_route_and_method(server: Server) -> None:
    described = server.ask("/openapi.json").json()
    for path, item in described["paths"].items():
        if "$ref" in item:
            item = described["components"]["pathItems"][item["$ref"].rpartition("/")[2]]
        sample = path.format(doc_id="x", name="x")
        reply = server.ask(sample, headers={}, method="OPTIONS")
        allowed = set(reply.headers["allow"].split(", ")) - {"HEAD"}
        assert {method.upper() for method in item} - {"PARAMETERS"} == allowed, path
    listed = server.ask("/", headers={"Accept": "application/json"}).json()["routes"]
    shown = {re.sub(":path", "", path) for path in listed}
    pages = {"/read", "/read/original", "/page.css", "/page.js"}
    assert shown - {"/mcp", *pages} == set(described["paths"])


def test_an_unknown_model_is_answered_by_the_first_with_a_warning(server: Server) -> None:
    body = {"model": "rerank-v3.5", "query": QUERY, "documents": TEXTS, "instruction": "x"}
    answer = server.ask("/v2/rerank", body).json()
    assert answer["model"] == "embedded"
    warnings = ["model 'rerank-v3.5' is not served: embedded answers", "no effect: `instruction`"]
    assert answer["meta"]["warnings"] == warnings
    texts = {"query": QUERY, "texts": TEXTS, "model": "rerank-v3.5", "instruction": "x"}
    # An answer without room for warnings has them in a header.
    assert server.ask("/rerank", texts).headers["x-ettin-warning"] == "; ".join(warnings)


def test_long_documents_are_cut_and_said(server: Server, session: ettin_cli.Session) -> None:
    long = "the ferry sails at nine " * 200
    answer = server.ask("/v2/rerank", {"query": QUERY, "documents": [long, "short"]}).json()
    assert answer["meta"]["warnings"] == ["1 of 2 documents were cut at 256 tokens"]
    assert [row.get("truncated", False) for row in answer["results"]] == [True, False]
    body = {"query": QUERY, "documents": [long], "max_tokens_per_doc": 5, "raw_scores": True}
    reply = server.ask("/v2/rerank", body)
    pair = [(QUERY, "the ferry sails at nine")]
    assert scores_of(reply) == session.score(pair, reranker="embedded").values.tolist()
    assert reply.json()["meta"]["warnings"] == ["1 of 1 documents were cut at 5 tokens"]


def test_pairs_are_scored_as_by_vllm(server: Server, session: ettin_cli.Session) -> None:
    body = {"text_1": [QUERY, "bread", QUERY], "text_2": ["a ferry", "a loaf", "a loaf"]}
    raw_rows = server.ask("/score", {**body, "use_activation": False}).json()["data"]
    rows = server.ask("/score", body).json()["data"]
    pairs = list(zip(body["text_1"], body["text_2"], strict=True))
    raw = session.score(pairs, reranker="embedded").values.tolist()
    assert [(row["index"], row["score"]) for row in rows] == [
        (at, sigmoid(score)) for at, score in enumerate(raw)
    ]
    assert [row["score"] for row in raw_rows] == raw


def test_embeddings_are_those_of_python(server: Server, session: ettin_cli.Session) -> None:
    expected = session.embed(["a ferry", "bread"], embedder="embedded")
    body = {"model": "m", "input": ["a ferry", "bread"]}
    floats = server.ask("/v1/embeddings", body).json()
    assert [row["embedding"] for row in floats["data"]] == expected.tolist()
    packed = server.ask("/v1/embeddings", {**body, "encoding_format": "base64"}).json()
    for row, vector in zip(packed["data"], expected, strict=True):
        assert np.array_equal(np.frombuffer(base64.b64decode(row["embedding"]), "<f4"), vector)
    assert server.ask("/embed", {"inputs": ["a ferry", "bread"]}).json() == expected.tolist()
    assert floats["usage"] == {"prompt_tokens": 7, "total_tokens": 7}


def test_the_server_tells_what_it_is(server: Server) -> None:
    server.until("embedded is loaded")
    assert server.ask("/health").json()["status"] == "ok"
    models = server.ask("/v1/models").json()["data"]
    assert [(one["id"], one["capabilities"]) for one in models] == [
        ("embedded", ["rerank"]),
        ("embedded", ["embed"]),
    ]
    info = server.ask("/info").json()
    assert (info["max_client_batch_size"], info["max_input_length"]) == (500, 256)
    assert "reranker" in info["model_type"]
    assert "embedding" in server.ask("/embedding/info").json()["model_type"]
    tokens = server.ask("/tokenize", {"inputs": "the ferry"}).json()[0]
    assert [one["text"] for one in tokens] == ["[CLS]", "the", "ferry", "[SEP]"]
    metrics = server.ask("/metrics").content.decode()
    for line in metrics.splitlines():
        assert line.startswith("# TYPE ") or float(line.rsplit(" ", 1)[1]) >= 0
    assert 'ettin_tokens_total{task="rerank",model="embedded"}' in metrics


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "message"),
    [
        ("/rerank", b"{", {}, 400, "the body is not JSON"),
        ("/rerank", b"[1]", {}, 400, "the body must be a JSON object"),
        ("/rerank", b'{"query": NaN}', {}, 400, "the body is not JSON"),
        ("/rerank", {"query": "q", "documents": []}, {}, 400, "`documents` is empty"),
        ("/rerank", {"query": "q", "documents": ["a"] * 501}, {}, 413, "501 texts, more than 500"),
        (
            "/rerank",
            b"query=q",
            {"Content-Type": "text/plain"},
            415,
            "not 'text/plain'",
        ),
        ("/rerank", b"x", {"Content-Encoding": "gzip"}, 415, "compressed bodies"),
        ("/v1/embeddings", {"input": [[1, 2]]}, {}, 400, "token ids"),
        ("/v1/embeddings", {"input": "a", "dimensions": 7}, {}, 400, "`dimensions` must be 384"),
        ("/v1/rerannk", {}, {}, 404, "did you mean /v1/rerank?"),
        ("/v1/rerank", None, {}, 405, "does not take GET"),
        (f"/{'x' * 9000}", None, {}, 414, "longer than 8,192"),
    ],
)
def test_bad_requests_are_told_what_is_wrong(
    server: Server, path: str, body: Any, headers: dict[str, str], status: int, message: str
) -> None:
    reply = server.ask(path, body, headers)
    assert reply.status == status
    told = reply.json()
    assert message in told["message"]
    assert told["detail"] == told["error"]["message"] == told["message"]
    assert server.ask("/health").status == 200


def test_errors_of_texts_have_the_shape_of_tei(server: Server) -> None:
    told = server.ask("/rerank", {"query": "q", "texts": []}).json()
    assert (told["error"], told["error_type"]) == ("`texts` is empty", "Validation")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost"}, 200),
        ({"Host": "a.localhost:1"}, 200),
        ({"Host": "[::1]:1"}, 200),
        ({"Host": "evil.example"}, 421),
        ({"Host": "127.0.0.1.evil.example"}, 421),
        ({"Host": "0.0.0.0"}, 421),
        ({"Host": "10.0.0.1"}, 421),
        ({"Host": ""}, 421),
        ({"Host": "localhost", "Origin": "http://localhost"}, 200),
        ({"Host": "localhost", "Origin": "http://localhost:9"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "evil.example", "Origin": "http://evil.example"}, 421),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
    ],
)
@pytest.mark.parametrize("path", ["/", "/health", "/rerank", "/v1/search?q=a", "/mcp", "/unknown"])
def test_pages_of_other_sites_are_refused_on_every_path(
    server: Server, path: str, headers: dict[str, str], status: int
) -> None:
    body = {"query": QUERY, "documents": TEXTS} if path == "/rerank" else None
    reply = server.ask(path, body, headers)
    passed = {200} if path in ("/", "/health", "/rerank") else {401, 404, 405}
    assert reply.status in (passed if status == 200 else {status})
    assert server.ask(path, None, headers, "OPTIONS").status in (
        {404, 405} if status == 200 else {status}
    )
    assert "Access-Control-Allow-Origin" not in reply.headers


def test_a_link_of_another_site_leads_to_the_page_alone(server: Server) -> None:
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert [server.ask(path, headers=link).status for path in ("/", "/info")] == [200, 403]
    assert server.ask("/", {"query": QUERY, "texts": TEXTS}, link).status == 403


def test_a_key_is_needed_where_one_is_set(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("s3cret\n")
    origin = "https://app.example"
    options = ["--api-key", "@key", "--cors-origin", origin, "--allow-host", "ranker"]
    server = Server(tmp_path, "-r", "embedded", "--scores", "raw", "--strict-models", *options)
    try:
        body = {"model": "embedded", "query": QUERY, "documents": TEXTS}
        assert server.ask("/rerank", body).status == 401
        assert server.ask("/health").status == 200
        for name, value in (("Authorization", "Bearer wrong"), ("X-API-Key", "wrong")):
            assert server.ask("/rerank", body, {name: value}).status == 401
        keys = [("Authorization", "Bearer s3cret"), ("Authorization", "s3cret")]
        for name, value in (*keys, ("X-API-Key", "s3cret")):
            assert server.ask("/rerank", body, {name: value}).status == 200
        key = {"X-API-Key": "s3cret", "Host": "ranker:1", "Origin": origin}
        reply = server.ask("/rerank", body, {**key, "Sec-Fetch-Site": "cross-site"})
        assert reply.headers["access-control-allow-origin"] == origin
        assert min(scores_of(reply)) < 0
        assert server.ask("/rerank", {**body, "model": "other"}, key).status == 404
        asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        assert server.ask("/rerank", None, asked, "OPTIONS").status == 204
        # The page may read that the key is wrong.
        wrong = server.ask("/rerank", body, {"Origin": origin, "X-API-Key": "wrong"})
        assert (wrong.status, wrong.headers["access-control-allow-origin"]) == (401, origin)
    finally:
        server.kill()


def long_request(query: str, count: int) -> bytes:
    texts = [f"{number} " + "the ferry sails at nine " * 60 for number in range(count)]
    return json.dumps({"query": query, "documents": texts}).encode()


def is_queued(server: Server) -> bool:
    return (
        b'ettin_queue_requests{task="rerank",model="embedded"} 1' in server.ask("/metrics").content
    )


def test_a_client_that_leaves_takes_its_queued_texts_with_it(server: Server) -> None:
    content = long_request("leaves", 400)
    head = f"POST /rerank HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n"
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode() + content)
        while not (is_queued(server) or server.said("400 items")):
            pass
        # Reset, without waiting for the answer.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    server.until(r"cohere 499 400 items")
    metrics = server.ask("/metrics").content.decode()
    cancelled = [line for line in metrics.splitlines() if line.startswith("ettin_items_cancelled")]
    assert max(float(line.rsplit(" ", 1)[1]) for line in cancelled) > 0


def test_a_signal_ends_it_after_the_requests_that_have_begun(tmp_path: Path) -> None:
    server = Server(tmp_path, "-r", "embedded", "--grace", "100")
    try:
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(server.ask, "/rerank", long_request("begun", 40))
            while not (is_queued(server) or asked.done()):
                pass
            assert server.end() == 0
            assert (asked.result().status, len(scores_of(asked.result()))) == (200, 40)
    finally:
        server.kill()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_for_its_log_does_not_stop_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = ["-r", "none", "-i", "none", "--embedder", "embedded", "--port", str(port)]
    with Path("/dev/full").open("w") as full:
        running = subprocess.Popen(
            [sys.executable, "-m", "ettin_cli", "serve", *options, "--offline"],
            env={**os.environ, "ETTIN_CACHE_DIR": str(tmp_path)},
            stderr=full,
        )
    try:
        connection = None
        while connection is None:
            assert running.poll() is None
            with contextlib.suppress(ConnectionRefusedError):
                connection = socket.create_connection(("127.0.0.1", port))
        with connection:
            connection.sendall(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert connection.recv(12) == b"HTTP/1.1 200"
        running.terminate()
        assert running.wait(60) in (0, 120)
    finally:
        running.kill()


def test_answers_are_sent_without_delay() -> None:
    delayed: list[int] = []

    async def look() -> None:
        accepted = asyncio.get_running_loop().create_future()

        def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            inner = writer.get_extra_info("socket")
            accepted.set_result(inner.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        for bound in listening(Address(port=0)):
            address = bound.getsockname()[:2]
            server = await asyncio.start_server(accept, sock=bound)
            _, writer = await asyncio.open_connection(*address)
            delayed.append(await accepted)
            accepted = asyncio.get_running_loop().create_future()
            writer.close()
            server.close()

    asyncio.run(look())
    assert delayed
    assert all(delayed)


def test_a_port_in_use_and_an_open_address_are_refused(ettin: Ettin) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = ettin("serve", "-r", "embedded", "--port", str(port))
    assert ran.code == 2
    assert f"port {port} is in use" in ran.err
    ran = ettin("serve", "-r", "embedded", "--host", "0.0.0.0")
    assert (ran.code, "--api-key KEY, or --insecure" in ran.err) == (2, True)
    assert ettin("serve", "--scores", "odd").code == 2
    for key in ("", "schlüssel"):
        assert ettin("serve", "-r", "embedded", "--api-key", key).code == 2


@pytest.mark.skipif(not RECORDED.exists(), reason="needs recorded requests")
def test_recorded_requests_of_clients_are_answered(server: Server) -> None:
    unserved = {"hf text_classification", "hf sentence_similarity", "hf feature_extraction"}
    for line in RECORDED.read_text().splitlines():
        one = json.loads(line)
        if one["client"] in unserved:
            continue
        reply = server.ask(one["path"], one["body"], method=one["method"])
        assert reply.status == 200, (one, reply.content)


def _of_open_webui(answer: Any) -> dict[int, float]:
    ordered = sorted(answer["results"], key=lambda row: row["index"])
    return dict(enumerate(row["relevance_score"] for row in ordered))


def _of_dify(answer: Any) -> dict[int, float]:
    assert {row["document"]["text"] for row in answer["results"]} == set(TEXTS)
    return _of_open_webui(answer)


def _of_ragflow(answer: Any) -> dict[int, float]:
    tokens = answer["meta"]["tokens"]
    assert tokens["input_tokens"] + tokens["output_tokens"] == answer["usage"]["total_tokens"] > 0
    return _of_open_webui(answer)


def _of_lightrag(answer: Any) -> dict[int, float]:
    return {row["index"]: row["relevance_score"] for row in answer["results"]}


def _of_tei(answer: Any) -> dict[int, float]:
    assert "error" not in answer
    return {row["index"]: row["score"] for row in answer}


@pytest.mark.parametrize(
    ("path", "body", "scores"),
    [
        # Open WebUI, LibreChat and Dify post to a URL or below a base URL that users give.
        ("/v1/rerank", {"documents": TEXTS, "top_n": len(TEXTS)}, _of_open_webui),
        ("/v1/rerank", {"documents": TEXTS, "top_n": 4, "return_documents": True}, _of_dify),
        ("/v1/rerank", {"documents": TEXTS, "top_n": None, "return_documents": True}, _of_dify),
        ("/rerank", {"documents": TEXTS, "return_documents": False, "top_n": 4}, _of_lightrag),
        (
            "/v1/rerank",
            {"documents": TEXTS, "return_documents": "true", "return_len": "true"},
            _of_ragflow,
        ),
        # kotaemon and Dify's plugin of text-embeddings-inference.
        ("/rerank", {"texts": TEXTS, "truncate": True}, _of_tei),
        ("/rerank", {"texts": TEXTS, "return_text": False, "raw_scores": False}, _of_tei),
    ],
)
def test_programs_read_the_scores_of_python(
    server: Server,
    session: ettin_cli.Session,
    path: str,
    body: dict[str, Any],
    scores: Callable[[Any], dict[int, float]],
) -> None:
    raw = session.score([(QUERY, text) for text in TEXTS], reranker="embedded").values.tolist()
    reply = server.ask(path, {"model": "embedded", "query": QUERY, **body})
    assert scores(reply.json()) == dict(enumerate(map(sigmoid, raw)))


def test_programs_find_what_a_server_of_tei_tells_of_itself(server: Server) -> None:
    told = server.ask("/info").json()
    assert list(told["model_type"]) == ["reranker"]
    assert told["max_input_length"] > 0
    assert told["max_client_batch_size"] == 500
    [tokens] = server.ask("/tokenize", {"inputs": [QUERY]}).json()
    assert [QUERY[one["start"] : one["stop"]] for one in tokens if not one["special"]] == [
        "when", "does", "the", "ferry", "sail",
    ]  # fmt: skip


def test_the_root_embeds_what_has_no_query(server: Server) -> None:
    assert (
        server.ask("/", {"inputs": QUERY}).json() == server.ask("/embed", {"inputs": QUERY}).json()
    )
    assert len(server.ask("/", {"inputs": TEXTS}).json()) == len(TEXTS)


def test_a_model_that_is_not_specified_is_the_first_without_a_warning(server: Server) -> None:
    body = {"model": "default/not-specified", "query": QUERY, "documents": TEXTS}
    assert "warnings" not in server.ask("/rerank", body).json()["meta"]


@pytest.mark.parametrize(
    ("path", "near"),
    [
        ("/api/v1/rerank", "/v1/rerank"),
        ("/openai/rerank/", "/rerank"),
        ("/v2/v2/v2/rerank", "/v2/rerank"),
        ("/v1/embedding", "/v1/embeddings"),
    ],
)
def test_an_unknown_path_names_the_one_that_it_ends_in(
    server: Server, path: str, near: str
) -> None:
    told = server.ask(path, {})
    assert (told.status, told.json()["message"].partition("; ")[2]) == (
        404,
        f"did you mean {near}?",
    )


def test_a_client_that_dribbles_its_headers_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEADERS_S", 0.5)
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 2)

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def until_cut(reader: asyncio.StreamReader) -> bool:
        with contextlib.suppress(ConnectionError):
            await reader.read()
        return True

    async def talk() -> bytes:
        config = uvicorn.Config(app, http=connections.LimitedProtocol, lifespan="off")
        config.load()
        state = uvicorn.server.ServerState()
        server = await asyncio.get_running_loop().create_server(
            lambda: connections.LimitedProtocol(config, state, {}), "127.0.0.1", 0
        )
        address = server.sockets[0].getsockname()
        streams = [await asyncio.open_connection(*address)]
        reader, writer = streams[0]
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        answered = await reader.readuntil(b"\r\n")
        streams += [await asyncio.open_connection(*address) for _ in range(2)]
        assert await until_cut(streams[2][0])
        writer.write(b"GET / HTTP/1.1\r\nHost:")
        assert await until_cut(reader)
        for _, writer in streams:
            writer.close()
        server.close()
        return answered

    assert asyncio.run(talk()) == b"HTTP/1.1 204 No Content\r\n"
