"""The README's command blocks run as they stand, and its recorded table is what is printed."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
SET_UP = "python3 -m venv"
WIDTH = "92"


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clone")
    shutil.copytree(ROOT / "sample_corpora", folder / "sample_corpora")
    return folder


def shell(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    cache = str(folder / "cache")
    environment = {**os.environ, "PATH": path, "COLUMNS": WIDTH, "ETTIN_CACHE_DIR": cache}
    return subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script],
        cwd=folder,
        env={**environment, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize("block", [block for block in BLOCKS if SET_UP not in block])
def test_a_block_of_commands_runs_as_it_stands(block: str, clone: Path) -> None:
    ran = shell(block, clone)
    assert ran.returncode == 0, ran.stderr


def test_the_set_up_blocks_are_whole_and_name_what_exists() -> None:
    blocks = [block for block in BLOCKS if SET_UP in block]
    assert [block.rstrip().splitlines()[-1] for block in blocks] == ["ettin demo", "pytest"]
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for block in blocks:
        assert all(line.endswith("&&") for line in block.rstrip().splitlines()[:-1])
        assert subprocess.run(["bash", "-n", "-c", block], check=False).returncode == 0
        assert (ROOT / "constraints.txt").is_file()
        for extra in re.findall(r"\.\[(.*?)\]", block)[0].split(","):
            assert f"\n{extra} = [" in pyproject


def test_the_recorded_table_is_what_is_printed(clone: Path) -> None:
    recorded = re.findall(r"```text\n\$ (.*?)\n(.*?)```", README, re.DOTALL)
    assert recorded
    for command, shown in recorded:
        printed = shell(f"{command} -f table", clone).stdout
        assert without_scores(printed) == without_scores(shown)


def without_scores(text: str) -> str:
    """Leave out what may differ by the last digit from one processor to another."""
    return re.sub(r"\d+\.\d{3}", "#", text)


def test_every_command_is_in_the_readme() -> None:
    from typer.main import get_command

    from ettin_cli.cli import app

    commands = get_command(app).commands  # type: ignore[attr-defined]
    missing = [name for name in commands if f"ettin {name}" not in README]
    assert missing == []
