"""The documentation agrees with the code, and its links resolve."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ettin_cli.corpus.registry import built_in_formats
from ettin_cli.errors import INTERRUPTED, TERMINATED
from ettin_cli.files.writers.registry import WRITERS, formats
from ettin_cli.records import COLUMNS
from ettin_cli.settings import EMBEDDERS, ETTIN_MODELS
from tests.pages import PAGES, ROOT, anchors, blocks, links
from tests.test_architecture import PACKAGE, ROWS

REFERENCE = ROOT / "docs" / "reference"
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@every_page
def test_links_lead_to_files_and_headings_that_exist(page: Path) -> None:
    for link in links(page):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@every_page
def test_blocks_say_what_they_are(page: Path) -> None:
    kinds = {block.kind for block in blocks(page)}
    assert kinds <= {"bash", "console", "python", "text"}


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, waiting = set[Path](), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page not in reached and page.suffix == ".md":
            reached.add(page)
            waiting += [(page.parent / link.partition("#")[0]).resolve() for link in links(page)]
    assert [page for page in PAGES if page not in reached] == []


def test_the_command_line_reference_is_what_the_recorded_helps_say() -> None:
    made = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "make_cli_reference.py")],
        capture_output=True,
        env={**os.environ, "PYTHONUTF8": "1"},
        check=True,
    ).stdout.decode()
    assert text_of(REFERENCE / "cli.md") == made, (
        "python scripts/make_cli_reference.py > docs/reference/cli.md"
    )
    for help in (ROOT / "tests" / "golden" / "help").glob("*.txt"):
        assert text_of(help) in made


def test_environment_variables_are_those_that_the_code_reads() -> None:
    code = "\n".join(text_of(path) for path in PACKAGE.rglob("*.py"))
    read = set(re.findall(r"""["'](ETTIN_[A-Z]+(?:_[A-Z]+)*)["']""", code))
    table = text_of(REFERENCE / "environment.md")
    assert read == set(re.findall(r"^\| `(ETTIN_\w+)`", table, re.MULTILINE))


def test_formats_are_those_that_can_be_written() -> None:
    page = text_of(REFERENCE / "formats.md")
    output = page.partition("## Output\n")[2]
    for name in {*formats(), *(one for writer in WRITERS for one in writer.suffixes), *COLUMNS}:
        assert f"`{name}`" in output, name


def test_formats_that_can_be_read_are_listed() -> None:
    page = text_of(REFERENCE / "formats.md").lower()
    readme = text_of(ROOT / "README.md")
    for name in built_in_formats().split(", "):
        assert name.lower() in page, name
        assert name in readme, name


def test_models_are_those_known_by_name() -> None:
    page = text_of(ROOT / "docs" / "guides" / "models.md")
    for alias in {*EMBEDDERS, *ETTIN_MODELS}:
        assert f"`{alias}`" in page
    for name, model in EMBEDDERS.items():
        published = f"{model.ndcg10:.4f} " if model.ndcg10 else ""
        [row] = re.findall(rf"^\| `{name}`.*$", page, re.MULTILINE)
        assert f"| {model.dimension} | {published}| {model.licence} |" in row
    readme = text_of(ROOT / "README.md")
    for reranker in ETTIN_MODELS.values():
        assert f"| `{reranker.alias}` | {reranker.ndcg10:.4f} |" in readme


def test_exit_codes_are_listed() -> None:
    listed = re.findall(r"^\| (\d+) \|", text_of(REFERENCE / "exit-codes.md"), re.MULTILINE)
    assert list(map(int, listed)) == [0, 1, 2, 3, 4, INTERRUPTED, TERMINATED]


def test_bands_are_those_that_are_checked() -> None:
    page = text_of(ROOT / "docs" / "explanation" / "architecture.md")
    rows = re.findall(r"^\| \d+ \| (.*?) \|", page, re.MULTILINE)
    assert [set(re.findall(r"`(\w+)`", row)) for row in rows] == ROWS
