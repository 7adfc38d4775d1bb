"""A plain rerank server around sentence-transformers, to compare `ettin serve` with.

    python benchmarks/plain_server.py MODEL

It computes one request after another in a thread, 32 pairs a batch, with all cores, and prints its
port.
"""

import socket
import sys
from typing import Any

import anyio
import orjson
import uvicorn
from anyio.to_thread import run_sync
from sentence_transformers import CrossEncoder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


def application(model: CrossEncoder) -> Starlette:
    """Return an application that answers POST /v1/rerank."""
    # Several at once would share the cores, and take longer in all.
    one = anyio.CapacityLimiter(1)

    def compute(pairs: list[tuple[str, str]]) -> list[float]:
        return [float(score) for score in model.predict(pairs, batch_size=32)]

    async def rerank(request: Request) -> Response:
        body = orjson.loads(await request.body())
        pairs = [(body["query"], text) for text in body["documents"]]
        scores: list[float] = await run_sync(compute, pairs, limiter=one)
        order = sorted(range(len(scores)), key=lambda at: -scores[at])
        rows: list[Any] = [{"index": at, "relevance_score": scores[at]} for at in order]
        return Response(orjson.dumps({"results": rows}), media_type="application/json")

    return Starlette(routes=[Route("/v1/rerank", rerank, methods=["POST"])])


def main() -> None:
    """Serve a model on a free port."""
    model = CrossEncoder(sys.argv[1], device="cpu")
    bound = socket.create_server(("127.0.0.1", 0))
    print(f"serving on http://127.0.0.1:{bound.getsockname()[1]}", file=sys.stderr, flush=True)
    config = uvicorn.Config(application(model), log_config=None)
    uvicorn.Server(config).run(sockets=[bound])


if __name__ == "__main__":
    main()
