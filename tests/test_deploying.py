"""The recipes in deploy/ fit the repository and the server."""

import configparser
import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ettin_cli.settings import ETTIN_MODELS
from tests.serving import Server

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
KEY = "3f0a"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a server that is started as the image starts it, on a free port."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "key").write_text(f"{KEY}\n")
    [words] = instructions("ENTRYPOINT")
    options = json.loads(words)[2:]
    assert options[-1].startswith("@")
    running = Server(folder, *options[:-1], f"@{folder / 'key'}", "-r", "embedded")
    yield running
    running.kill()


def instructions(name: str) -> list[str]:
    """Return the arguments of the instructions of the Dockerfile with a name."""
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line.split(None, 1) for line in text.splitlines() if line and line[0].isupper()]
    return [words for instruction, words in lines if instruction == name]


def test_the_image_copies_what_there_is_and_starts_a_model() -> None:
    sources = [
        source for words in instructions("COPY") for source in words.split()[:-1]
        if not words.startswith("--from")
    ]  # fmt: skip
    assert "deploy/without-torch.txt" in sources
    assert [source for source in sources if not (ROOT / source).exists()] == []
    [words] = instructions("CMD")
    option, model = json.loads(words)
    assert option == "-r"
    assert model in ETTIN_MODELS
    assert instructions("USER") == ["10001"]


def test_the_image_is_healthy_once_the_models_are_loaded(server: Server) -> None:
    [words] = instructions("HEALTHCHECK")
    _, *command = json.loads(words.partition("CMD ")[2])
    command = [word.replace(":7480/", f":{server.port}/") for word in command]
    server.until("is loaded")
    assert subprocess.run([sys.executable, *command]).returncode == 0
    elsewhere = [word.replace("/ready", "/nowhere") for word in command]
    ran = subprocess.run([sys.executable, *elsewhere], capture_output=True)
    assert ran.returncode == 1
    asked = {"query": "q", "documents": ["a"]}
    assert server.ask("/rerank", asked).status == 401
    assert server.ask("/rerank", asked, {"Authorization": f"Bearer {KEY}"}).status == 200


def test_the_unit_starts_the_server_with_the_key_that_it_loads() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(DEPLOY / "ettin.service")
    service = unit["Service"]
    program, command, *options = shlex.split(service["ExecStart"])
    assert (Path(program).name, command) == ("ettin", "serve")
    credential = service["LoadCredential"].partition(":")[0]
    given = options[options.index("--api-key") + 1]
    assert given == f"@${{CREDENTIALS_DIRECTORY}}/{credential}"
    state = f"/var/lib/{service['StateDirectory']}/"
    assert service["Environment"].count(f"={state}") == len(service["Environment"].split())
