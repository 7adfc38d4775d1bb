"""Which options make another daemon, so that one that is running is not taken for it."""

import inspect
from pathlib import Path

import pytest

from ettin_cli.commands.serve import serve
from tests.conftest import Ettin

pytest.importorskip("fcntl", reason="there is no daemon on this system")

USUAL = ("--port", "0")
# Each option of its own, with a value that is not the default.
OTHERS = {
    "reranker": ["-r", "embedded"],
    "embedder": ["--embedder", "minilm"],
    "index": ["-i", "other"],
    "host": ["--host", "::1"],
    "port": ["--port", "7481"],
    "api_key": ["--api-key", "secret"],
    "watch": ["--watch"],
    "no_token": ["--no-token"],
    "editor_url": ["--editor-url", "vscode://file/{path}"],
    "insecure": ["--insecure"],
    "allow_host": ["--allow-host", "box"],
    "cors_origin": ["--cors-origin", "https://page.example"],
    "scores": ["--scores", "raw"],
    "long": ["--long", "max"],
    "strict_models": ["--strict-models"],
    "max_documents": ["--max-documents", "9"],
    "max_body": ["--max-body", "9"],
    "max_wait": ["--max-wait", "9"],
    "timeout": ["--timeout", "9"],
    "grace": ["--grace", "9"],
    "keep_alive": ["--keep-alive", "9m"],
    "device": ["--device", "cuda"],
    "dtype": ["--dtype", "bf16"],
    "batch_size": ["--batch-size", "9"],
    "threads": ["--threads", "1"],
    "trust_remote_code": ["--trust-remote-code"],
    "offline": ["--offline"],
}
# What happens at the start alone, or instead of it.
ONCE = {"daemon", "open_page", "status", "stop", "format", "color", "verbose", "quiet"}


class Starts:
    """Starts of a daemon, which finds that one is running."""

    def __init__(self, ettin: Ettin) -> None:
        self.ettin, self.seen = ettin, list[list[str]]()

        def detached(options: list[str], _: object) -> None:
            self.seen.append(options)

        ettin.monkeypatch.setattr("ettin_cli.daemon.detached", detached)

    def __call__(self, *words: str) -> list[str]:
        """Return the options that are compared with those of the running daemon."""
        ran = self.ettin("serve", "--daemon", *words)
        assert ran.code == 0, ran.err
        return self.seen[-1]


def test_a_daemon_with_another_value_of_any_option_is_another(ettin: Ettin, tmp_path: Path) -> None:
    assert set(inspect.signature(serve).parameters) == OTHERS.keys() | ONCE
    starts = Starts(ettin)
    usual = starts(*USUAL)
    assert [name for name, words in OTHERS.items() if starts(*USUAL, *words) == usual] == []
    for words in (["--open"], ["-v"], ["-q"], ["--color", "never"], ["-r", "auto"], ["-i", "none"]):
        assert starts(*USUAL, *words) == usual, words
    # A key is compared, but does not leave the process.
    (tmp_path / "key").write_text("secret\n")
    given = starts(*USUAL, "--api-key", "secret")
    assert given == starts(*USUAL, "--api-key", "@key") != starts(*USUAL, "--api-key", "other")
    assert not any("secret" in option for option in given)


def test_folders_are_compared_and_not_their_names(ettin: Ettin, library: Path) -> None:
    starts, docs = Starts(ettin), str(library / "docs")
    ettin.monkeypatch.chdir(library)
    known = starts("-r", "docs", "--embedder", "docs")
    default = starts("-r", "none")
    assert known == starts("-r", docs, "--embedder", docs, "-i", ".ettin")
    assert default != starts("-r", "none", "-i", "none")
    ettin.monkeypatch.chdir(library / "docs" / "deep")
    assert known == starts("-r", "..", "--embedder", "../../docs", "-i", "../../.ettin")
    assert default == starts("-r", "none")
    assert starts("-r", "docs", "--embedder", "docs") != known
    ettin.monkeypatch.chdir("/")
    assert starts("-r", "none") != default
