"""Run the tests with the lowest versions that pyproject.toml allows.

    python scripts/check_lowest.py [--instead torch==2.13.0] [--into FOLDER] [PYTEST ARGUMENT ...]

Installs them in a new environment: pip gets the lower bound of each dependency, and of each extra
that users install, as a constraint. Other packages are the newest that fit. `--instead` replaces
bounds, for a machine that cannot get one of the versions.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# Ray has an environment of its own, and the tools of the tests are no part of the product.
NOT_CHECKED = ("dev", "ray")
EXTRAS = "offline,dev"
# Small builds of torch for CPUs; elsewhere than on Linux the package index has these.
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
_BOUND = re.compile(r"(?P<name>[\w.-]+)(?:\[[\w,-]+\])?(?:>=|==)(?P<version>[\w.]+)")


def lowest(project: dict[str, Any]) -> dict[str, str]:
    """Return the lowest allowed version of each package, given the table `project`.

    Raises:
        ValueError: A requirement has no lower bound.
    """
    extras: dict[str, list[str]] = project["optional-dependencies"]
    required: list[str] = [*project["dependencies"]]
    required += [one for name, some in extras.items() if name not in NOT_CHECKED for one in some]
    versions = {}
    for requirement in required:
        if not (bound := _BOUND.match(requirement)):
            raise ValueError(f"pyproject.toml: {requirement} has no lower bound")
        versions[bound["name"]] = bound["version"]
    return versions


def main() -> int:
    """Make the environment, print what it holds, run the tests, and return their exit code."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("--instead", action="append", default=[], metavar="NAME==VERSION")
    parser.add_argument("--into", type=Path, help="the environment; made if it is not there")
    arguments, tests = parser.parse_known_args()
    with (ROOT / "pyproject.toml").open("rb") as file:
        versions = lowest(tomllib.load(file)["project"])
    versions |= dict(one.split("==") for one in arguments.instead)
    with tempfile.TemporaryDirectory() as made:
        folder = arguments.into or Path(made)
        python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        if not python.exists():
            venv.create(folder, with_pip=True)
        constraints = Path(made) / "lowest.txt"
        lines = [f"{name}=={version}\n" for name, version in versions.items()]
        constraints.write_text("".join(lines), encoding="utf-8")
        pip = [str(python), "-m", "pip", "install", "--quiet", "-c", str(constraints)]
        if sys.platform == "linux":
            alone = ["--no-deps", "--retries", "1", "--extra-index-url", TORCH_INDEX]
            subprocess.run([*pip, *alone, "torch"], check=True)
        subprocess.run([*pip, "-e", f".[{EXTRAS}]"], cwd=ROOT, check=True)
        subprocess.run([python, "-m", "pip", "freeze", "--exclude-editable"], check=True)
        return subprocess.run([python, "-m", "pytest", *tests], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
