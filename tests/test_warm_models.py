"""The models of a daemon, as another process uses them: found once, and on one connection."""

import gc
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import ettin_cli
from ettin_cli.daemon import WarmModels
from ettin_cli.daemon.keys import embedder_key, reranker_key
from ettin_cli.daemon.model_server import ModelServer
from ettin_cli.records import Silence
from ettin_cli.serving import Activity, ServedEmbedder, ServedReranker
from ettin_cli.serving.scheduled_models import ScheduledEmbedder
from ettin_cli.settings import TRUNCATE
from tests.multi_vectors import multi_vector

pytest.importorskip("fcntl", reason="there is no daemon on this system")


QUERY, TEXT = "when does the ferry sail", "It sails at nine."


class Listener(socket.socket):
    """Counts the connections that it accepts."""

    accepted = 0

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection."""
        taken = super().accept()
        self.accepted += 1
        return taken


class Notices(Silence):
    """Keeps notices."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def notice(self, message: str) -> None:
        """Keep a notice."""
        self.said.append(message)


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    """A socket where a daemon of this process listens."""
    with (
        # The path of a socket must be short.
        tempfile.TemporaryDirectory(prefix="ettin-", dir="/tmp") as runtime,
        Listener(socket.AF_UNIX, socket.SOCK_STREAM) as made,
    ):
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
        folder = Path(runtime, "ettin")
        folder.mkdir(mode=0o700)
        made.bind(str(folder / "models.sock"))
        made.listen()
        yield made
        made.shutdown(socket.SHUT_RDWR)


def walked(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return a list of the folders whose files are looked at from now on."""
    folders: list[Path] = []
    walk: Callable[..., Any] = os.walk

    def noted(folder: Any, *more: Any, **options: Any) -> Any:
        folders.append(Path(folder))
        return walk(folder, *more, **options)

    monkeypatch.setattr(os, "walk", noted)
    return folders


def test_a_model_of_the_daemon_is_found_once(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    reporter = Notices()
    with ettin_cli.Session(offline=True) as session:
        models = session.models
        resolved, files = models.find_reranker("embedded"), models.find_embedder("embedded")
        held = ServedReranker(models, resolved, TRUNCATE)
        embedder = ServedEmbedder(files, lambda: models.embedder(files))
        key = reranker_key(resolved, models.settings)
        other = embedder_key(files, embedder.embedder.card, models.settings)
        assert key
        ModelServer(
            listener,
            {key: held, other: embedder},
            {key: ["loaded slowly"]},
            Activity(),
            Silence(),
            lambda _: {},
        ).start()

        warm = WarmModels(models)
        warm.reporter = reporter
        folders = walked(monkeypatch)
        served = ServedReranker(warm, resolved, TRUNCATE)
        expected = models.reranker(resolved).score([(QUERY, TEXT)]).values.tolist()
        for _ in range(10):
            counted = served.counted(QUERY, [TEXT], most=None)
            assert served.reranker.score(counted.items).values.tolist() == expected
        assert listener.accepted == 1
        assert reporter.said == ["loaded slowly"]
        for _ in range(10):
            warm.embedder(files).embed_queries([QUERY])
        assert listener.accepted == 2
        assert len(folders) <= 2
        # Their connections are closed with them, which a ResourceWarning would tell.
        warm.close()
        del served, warm
        gc.collect()
        held.scheduler.close()
        embedder.scheduler.close()


def test_a_multi_vector_model_of_the_daemon_says_how_much_it_reads_of_a_query(
    listener: Listener, tmp_path: Path
) -> None:
    folder = multi_vector(tmp_path, expansion={"strategy": "fixed", "length": 32})
    reporter = Notices()
    with ettin_cli.Session(offline=True) as session:
        models = session.models
        files = models.find_embedder(str(folder))
        embedder = ServedEmbedder(files, lambda: models.embedder(files))
        key = embedder_key(files, embedder.embedder.card, models.settings)
        ModelServer(listener, {key: embedder}, {}, Activity(), Silence(), lambda _: {}).start()
        warm = WarmModels(models)
        warm.reporter = reporter
        vectors = warm.embedder(files).embed_queries([QUERY, QUERY * 9])
        assert listener.accepted == 1
        assert vectors.tolist() == models.embedder(files).embed_queries([QUERY, QUERY * 9]).tolist()
        assert reporter.said == [
            f"1 query truncated at the embedder's token limit ({folder}: 32 tokens)"
        ]
        warm.close()
        embedder.scheduler.close()


def test_an_embedder_of_the_daemon_and_of_a_server_gives_token_vectors(
    listener: Listener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = multi_vector(tmp_path, expansion={"strategy": "fixed", "length": 32})
    reporter, queries = Notices(), [QUERY, QUERY * 9]
    with ettin_cli.Session(offline=True) as session:
        models = session.models
        files = models.find_embedder(str(folder))
        local: Any = models.embedder(files)
        expected = [one.tokens.tolist() for one in local.query_tokens(queries)]
        embedder = ServedEmbedder(files, lambda: local)
        served = ScheduledEmbedder(embedder)
        key = embedder_key(files, local.card, models.settings)
        ModelServer(listener, {key: embedder}, {}, Activity(), Silence(), lambda _: {}).start()
        warm = WarmModels(models)
        warm.reporter = reporter
        held: Any = warm.embedder(files)
        with monkeypatch.context() as patch:
            patch.setattr(held, "load", lambda: pytest.fail("the model is loaded"))
            patch.setattr(held.encoder, "load", held.load)
            found = held.query_tokens(queries)
        assert reporter.said == [
            f"1 query truncated at the embedder's token limit ({folder}: 32 tokens)"
        ]
        for ours in (found, served.query_tokens(queries)):
            assert [one.tokens.tolist() for one in ours] == expected
            assert ours[0].weights.tolist() == [1.0] * len(expected[0])
        assert held.query_tokens([]) == []
        for model in (held, served):
            texts: dict[int, Any] = {}
            pooled, _ = model.embed_tokens([TEXT], texts.__setitem__)
            assert pooled == pytest.approx(local.embed_documents([TEXT]), abs=1e-6)
            assert len(texts[0].vectors) > 3
        warm.close()
        embedder.scheduler.close()
