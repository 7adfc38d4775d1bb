"""Every `--help` is recorded in golden/help/ and has examples.

After an intended change, regenerate the files and review the difference:

    REGENERATE=1 pytest tests/test_help.py
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from ettin_cli.cli import Commands, app
from tests.conftest import Ettin

GOLDEN = Path(__file__).parent / "golden" / "help"


def tree(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield words
    for name, below in getattr(command, "commands", {}).items():
        yield from tree(below, (*words, name))


COMMANDS = list(tree(get_command(app)))
every_command = pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words))


def golden(words: tuple[str, ...]) -> Path:
    return GOLDEN / ("-".join(("ettin", *words)) + ".txt")


@pytest.fixture
def help_of(ettin: Ettin) -> Any:
    ettin.monkeypatch.setenv("COLUMNS", "80")
    ettin.monkeypatch.setenv("NO_COLOR", "1")
    return lambda words: ettin(*words, "--help")


@every_command
def test_help_is_what_is_recorded(help_of: Any, words: tuple[str, ...]) -> None:
    ran = help_of(words)
    assert (ran.code, ran.err) == (0, "")
    if os.environ.get("REGENERATE"):
        golden(words).parent.mkdir(parents=True, exist_ok=True)
        golden(words).write_text(ran.out, encoding="utf-8")
    assert golden(words).is_file(), "record it: REGENERATE=1 pytest tests/test_help.py"
    assert ran.out == golden(words).read_text(encoding="utf-8")


@every_command
def test_the_list_of_commands_says_what_their_own_help_begins_with(words: tuple[str, ...]) -> None:
    if len(words) == 1:
        command = get_command(app).commands[words[0]]  # type: ignore[attr-defined]
        assert command.help.split("\n")[0] == Commands.listed[words[0]].summary


def test_no_file_is_recorded_of_a_command_that_is_gone() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == {golden(words).name for words in COMMANDS}


@every_command
def test_help_names_values_and_cuts_no_sentence(help_of: Any, words: tuple[str, ...]) -> None:
    out = help_of(words).out
    assert not re.search(r"<[a-z]|[{}]", out), "give the option a metavar"
    assert max(map(len, out.splitlines())) <= 79
    assert "...\n" not in out.partition("Commands:")[2]


@every_command
def test_help_teaches_by_commands_that_exist(help_of: Any, words: tuple[str, ...]) -> None:
    options = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", help_of(words).out))
    examples = re.findall(r"^    (?:.*\| |.*\|\| )?(ettin .*)$", help_of(words).out, re.MULTILINE)
    assert examples
    for example in examples:
        typed = shlex.split(re.split(r" \| | \|\| ", example)[0], comments=True)[1:]
        named = max((path for path in COMMANDS if typed[: len(path)] == list(path)), key=len)
        assert named
        if named == words:
            assert {word for word in typed if word.startswith("-")} - {"-"} <= options


def test_help_needs_no_readable_index_or_environment(ettin: Ettin) -> None:
    ettin.monkeypatch.setenv("ETTIN_THREADS", "many")
    ettin.monkeypatch.setenv("ETTIN_INDEX", "/nowhere")
    assert ettin("search", "--help").code == 0


def test_the_version_is_the_packages(ettin: Ettin) -> None:
    from ettin_cli import __version__

    assert ettin("--version").out == f"ettin {__version__}\n"


def test_a_bare_ettin_is_wrong_usage_that_shows_the_help(ettin: Ettin) -> None:
    ran = ettin()
    assert (ran.code, ran.out) == (2, "")
    assert "Start with one of these:\n    ettin demo\n" in ran.err


def test_a_command_that_is_misspelt_is_guessed(ettin: Ettin) -> None:
    ran = ettin("serach", "ferry")
    assert ran.code == 2
    assert "Did you mean 'search'?" in ran.err


# Completion


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("ettin ", {"index", "search", "score", "models", "info", "verify", "cache", "demo"}),
        ("ettin models ", {"list", "show", "pull"}),
        ("ettin search --min", {"--min-score"}),
    ],
)
def test_completion_offers_commands_and_options(words: str, offered: set[str]) -> None:
    ran = completing("complete_bash", COMP_WORDS=words, COMP_CWORD=str(words.count(" ")))
    assert offered <= set(ran.split())


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_of_a_shell_is_printed(shell: str) -> None:
    script = completing(f"source_{shell}")
    assert "_ETTIN_COMPLETE" in script
    assert f"complete_{shell}" in script


def completing(task: str, **settings: str) -> str:
    code = "from ettin_cli.cli import Commands, app; app(prog_name='ettin')"
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "_ETTIN_COMPLETE": task, **settings},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
