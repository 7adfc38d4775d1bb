"""Make the environments of the client programs.

    python -m tests.clients.environments FOLDER [NAME...]

Each is a virtual environment, or a folder of node modules, with the packages that the program's
docstring names after `Needs:`. They cannot share one: their packages need different versions.
"""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
PYTHON = ("sdks", "langchain", "litellm", "haystack", "llamaindex")
MTEB = "mteb_tasks"
NODE = "node"


def needs(program: Path) -> list[str]:
    """Return the packages that a program needs."""
    lines = program.read_text(encoding="utf-8").splitlines()
    named = [line.partition("Needs:")[2].split() for line in lines if "Needs:" in line]
    return [package for packages in named for package in packages]


def python_of(folder: Path, name: str) -> Path:
    """Return the interpreter of an environment."""
    return folder / name / "bin" / "python"


def make(folder: Path, name: str) -> None:
    """Make an environment."""
    if name == NODE:
        (folder / name).mkdir(parents=True, exist_ok=True)
        packages = needs(HERE / "node.mjs")
        subprocess.run(["npm", "install", "--no-audit", *packages], cwd=folder / name, check=True)
        return
    subprocess.run([sys.executable, "-m", "venv", folder / name], check=True)
    pip = [str(python_of(folder, name)), "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, *needs(HERE / f"{name}.py")], check=True)


if __name__ == "__main__":
    for chosen in sys.argv[2:] or (*PYTHON, MTEB, NODE):
        make(Path(sys.argv[1]), chosen)
