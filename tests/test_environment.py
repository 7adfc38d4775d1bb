"""Environment variables set defaults, options override them, and errors take one line."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Ettin, Outcome, Terminal

FERRY = "When does the ferry sail?"
COLOUR = re.compile(r"\x1b\[")


def first(ran: Outcome) -> dict[str, Any]:
    assert ran.code == 0, ran.err
    answer: dict[str, Any] = json.loads(ran.out.splitlines()[0])
    return answer


# Models and engines


def test_dtype_and_the_option_that_overrides_it(inside: Ettin) -> None:
    inside.monkeypatch.setenv("ETTIN_DTYPE", "bf16")
    words = ("search", FERRY, "-r", "embedded", "--exact")
    assert first(inside(*words))["engine"] == "torch cpu bfloat16"
    ran = inside(*words, "--dtype", "fp32")
    assert first(ran)["engine"] == "onnxruntime cpu float32"


def test_device_and_the_option_that_overrides_it(inside: Ettin) -> None:
    inside.monkeypatch.setenv("ETTIN_DEVICE", "cuda:99")
    ran = inside("search", FERRY, "-r", "none")
    assert (ran.code, ran.out) == (1, "")
    assert "device cuda:99 cannot be used" in ran.err
    assert inside("search", FERRY, "-r", "none", "--device", "cpu").code == 0


def test_threads_and_the_option_that_overrides_it(inside: Ettin) -> None:
    inside.monkeypatch.setenv("ETTIN_THREADS", "3")
    assert "on the CPU in float32, 3 threads" in inside("search", FERRY, "-r", "none", "-v").err
    ran = inside("search", FERRY, "-r", "none", "-v", "--threads", "2")
    assert "on the CPU in float32, 2 threads" in ran.err


@pytest.mark.parametrize("name", ["DEVICE", "DTYPE", "THREADS", "RERANKER", "INDEX", "OFFLINE"])
def test_an_empty_value_is_none_at_all(inside: Ettin, name: str) -> None:
    inside.monkeypatch.setenv(f"ETTIN_{name}", "")
    ran = inside("search", FERRY, "-r", "none")
    assert first(ran)["hits"][0]["doc_id"] == "ferry.md"


@pytest.mark.parametrize(
    ("name", "value"),
    [("DEVICE", "tpu"), ("DTYPE", "int4"), ("THREADS", "many"), ("THREADS", "0"), ("OFFLINE", "x")],
)
def test_a_value_that_makes_no_sense_is_wrong_usage(inside: Ettin, name: str, value: str) -> None:
    inside.monkeypatch.setenv(f"ETTIN_{name}", value)
    ran = inside("search", FERRY, "-r", "none")
    assert (ran.code, ran.out) == (2, "")
    assert value in ran.err or f"ETTIN_{name}" in ran.err


def test_an_index_is_named_by_option_then_environment_then_place(ettin: Ettin, docs: Path) -> None:
    for name, index in (("bread.txt", ".ettin"), ("fares.txt", "second"), ("ferry.md", "third")):
        ettin("index", f"docs/{name}", "-i", index)

    def found(*options: str) -> str:
        return str(first(ettin("search", FERRY, "-r", "none", *options))["hits"][0]["doc_id"])

    assert found() == "bread.txt"
    ettin.monkeypatch.setenv("ETTIN_INDEX", "second")
    assert found() == "fares.txt"
    assert found("-i", "third") == "ferry.md"
    assert "ettin: second is up to date" in ettin("index").err


# The network


@pytest.mark.parametrize(
    ("variable", "options"),
    [
        ("HF_HUB_OFFLINE", []),
        ("TRANSFORMERS_OFFLINE", []),
        ("ETTIN_OFFLINE", []),
        ("", ["--offline"]),
    ],
)
def test_offline_never_asks_the_hub(ettin: Ettin, variable: str, options: list[str]) -> None:
    ettin.monkeypatch.delenv("HF_HUB_OFFLINE")
    if variable:
        ettin.monkeypatch.setenv(variable, "1")
    ettin.monkeypatch.setattr(
        "ettin_cli.models.hub.download", lambda *_: pytest.fail("asked the hub")
    )
    ran = ettin("score", FERRY, "At nine.", "-r", "17m", *options)
    assert (ran.code, ran.out) == (1, "")
    assert "ettin-reranker-17m-v1 is not on this machine and the network is disabled" in ran.err


def test_a_hub_that_cannot_be_reached_is_one_line_and_is_not_asked_again(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "0",
        "HF_HOME": str(tmp_path / "hf"),
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "NO_PROXY": "*",
        "ETTIN_CACHE_DIR": str(tmp_path / "cache"),
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    said = []
    for _ in range(2):
        ran = subprocess.run(
            [sys.executable, "-m", "ettin_cli", "score", FERRY, "At nine.", "-r", "32m"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (ran.returncode, ran.stdout) == (1, "")
        problem, hint = ran.stderr.splitlines()
        assert (
            "ettin-reranker-32m-v1 is not on this machine and the hub cannot be reached" in problem
        )
        assert hint.startswith("  hint: use embedded, or download it")
        said.append(problem)
    assert " s ago)" not in said[0]
    assert " s ago)" in said[1]


# Cache folder


def test_the_cache_goes_where_the_environment_says(ettin: Ettin, docs: Path) -> None:
    ettin.monkeypatch.setenv("ETTIN_CACHE_DIR", "elsewhere")
    ettin("search", FERRY, "docs", "-r", "none")
    assert [path.name[:5] for path in Path("elsewhere/indexes").iterdir()] == ["docs-"]
    assert ettin("cache").out.splitlines()[1].startswith("indexes/docs-")


def test_a_cache_that_cannot_be_made_is_said(ettin: Ettin, docs: Path) -> None:
    Path("file").write_text("")
    ettin.monkeypatch.setenv("ETTIN_CACHE_DIR", "file/cache")
    ran = ettin("search", FERRY, "docs", "-r", "none")
    assert (ran.code, ran.out) == (1, "")
    assert re.search("cannot make file/cache/indexes/docs-[0-9a-f]+: Not a directory", ran.err)
    assert ettin("models").code == 0


# Colour


def test_no_color_is_honoured_on_a_terminal_and_empty_is_as_good_as_unset(
    inside: Ettin, terminal: Terminal
) -> None:
    words = ["search", FERRY, "-r", "none", "-q"]
    assert COLOUR.search(terminal(*words).out)
    inside.monkeypatch.setenv("NO_COLOR", "")
    assert COLOUR.search(terminal(*words).out)
    inside.monkeypatch.setenv("NO_COLOR", "1")
    assert not COLOUR.search(terminal(*words).out)
    assert COLOUR.search(terminal(*words, "--color", "always").out)


@pytest.mark.parametrize(
    "words",
    [
        ["search", FERRY, "-r", "none", "-f", "table"],
        ["score", FERRY, "At nine.", "-r", "embedded", "-f", "table"],
        ["models", "list"],
        ["info"],
        ["cache", "list"],
    ],
    ids=" ".join,
)
def test_a_pipe_gets_colour_only_when_it_is_asked_for(inside: Ettin, words: list[str]) -> None:
    assert not COLOUR.search(inside(*words).out)
    assert not COLOUR.search(inside(*words, "--color", "never").out)
    always = inside(*words, "--color", "always")
    assert always.code == 0
    assert "\x1b" not in always.err
    # A table without a header has nothing to colour, and this cache is empty.
    assert bool(COLOUR.search(always.out)) is (words[0] in ("search", "score") or "models" in words)


def test_the_same_is_shown_with_and_without_colour(inside: Ettin, terminal: Terminal) -> None:
    words = ["search", FERRY, "-r", "embedded", "-k", "9", "-q"]
    coloured = terminal(*words, width=70).out
    inside.monkeypatch.setenv("COLUMNS", "70")
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == inside(*words, "-f", "table").out


def test_the_width_of_a_terminal_is_used(inside: Ettin, terminal: Terminal) -> None:
    for width in (40, 80, 160):
        out = terminal("search", FERRY, "-r", "none", "-q", "--color", "never", width=width).out
        widest = max(map(len, out.splitlines()))
        assert width - 20 < widest <= width


# Verbosity


def test_verbose_tells_what_was_chosen_and_quiet_is_silent(inside: Ettin) -> None:
    words = ["search", FERRY, "-r", "embedded", "-k", "1"]
    told = inside(*words).err
    assert re.fullmatch(r"ettin: 1 hit, reranked by embedded \(blend 0\.7\), \d+\.\d\d s\n", told)
    verbose = inside(*words, "-v").err
    assert "reranking with embedded on onnxruntime cpu float32" in verbose
    assert re.search(r"\(embed \d\.\d\d, retrieve \d\.\d\d, rerank \d\.\d\d\)\n", verbose)
    assert inside(*words, "-q").err == ""
    assert first(inside(*words, "-q"))["hits"] == first(inside(*words, "-v"))["hits"]


def test_without_utf8_what_cannot_be_shown_is_escaped(ettin: Ettin, docs: Path) -> None:
    docs.rename("日本")
    ettin("index", "日本")
    ran = subprocess.run(
        [sys.executable, "-m", "ettin_cli", "info"],
        env={
            **os.environ,
            "PYTHONIOENCODING": "ascii",
            "PYTHONPATH": str(Path(__file__).parents[1]),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert "source     '\\u65e5\\u672c'\n" in ran.stdout
