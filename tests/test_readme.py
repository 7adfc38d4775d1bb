"""README.md and the pages on searching: their blocks run unchanged, in one clone."""

import re
import subprocess

import pytest

from tests.pages import ROOT, Block, Clones, blocks, each_block

README = ROOT / "README.md"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
GUIDES = [ROOT / "docs" / "guides" / f"{name}.md" for name in ("indexing", "searching", "models")]
# Later pages find the index that earlier ones have built, and only update it.
PAGES = [README, ROOT / "docs" / "quickstart.md", *GUIDES]
SET_UP = "python3 -m venv"


@pytest.fixture(scope="module")
def clones(tmp_path_factory: pytest.TempPathFactory) -> Clones:
    return Clones(tmp_path_factory.mktemp("clones"))


@each_block(PAGES)
def test_a_block_runs_as_it_stands(block: Block, clones: Clones) -> None:
    clones.run(block, clones.of(README))


@pytest.mark.parametrize(("page", "last"), [(README, "ettin demo"), (CONTRIBUTING, "pytest")])
def test_the_set_up_is_complete_and_names_what_exists(page: object, last: str) -> None:
    [block] = [one.text for one in blocks(page) if SET_UP in one.text]  # type: ignore[arg-type]
    lines = block.rstrip().splitlines()
    assert lines[-1] == last
    assert all(line.endswith("&&") for line in lines[:-1])
    assert subprocess.run(["bash", "-n", "-c", block], check=False).returncode == 0
    assert (ROOT / "constraints.txt").is_file()
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for extra in re.findall(r"\[(.*?)\]", block)[0].split(","):
        assert f"\n{extra} = [" in pyproject


def test_every_check_is_that_of_the_readme_and_of_ci() -> None:
    command = re.findall(r"test command is `(.*?)`", README.read_text(encoding="utf-8"))
    assert command == ["pytest"]
    check = (ROOT / "scripts" / "check").read_text(encoding="utf-8").splitlines()
    assert command[0] in check
    assert "scripts/check" in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()


def test_every_command_is_in_the_readme() -> None:
    from typer.main import get_command

    from ettin_cli.cli import app

    commands = get_command(app).commands  # type: ignore[attr-defined]
    text = README.read_text(encoding="utf-8")
    assert [name for name in commands if f"ettin {name}" not in text] == []
