"""The wheel, the sdist and the workflows hold what they should.

scripts/check_wheel.py also installs the wheel and runs it.
"""

import email
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.check_lowest import lowest
from scripts.check_wheel import build, missing

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return table


def test_the_wheel_and_the_sdist_are_complete(tmp_path: Path) -> None:
    wheel, sdist = build(tmp_path)
    assert missing(wheel, sdist) == []
    with zipfile.ZipFile(wheel) as file:
        [name] = [name for name in file.namelist() if name.endswith("/METADATA")]
        fields = email.message_from_bytes(file.read(name))
    assert fields["Metadata-Version"] == "2.4"
    assert fields["Author"] == "The ettin authors"


def test_every_dependency_has_a_lower_bound(project: dict[str, Any]) -> None:
    versions = lowest(project)
    assert versions["faiss-cpu"] == "1.14.2"
    with pytest.raises(ValueError, match="numpy has no lower bound"):
        lowest({"dependencies": ["numpy"], "optional-dependencies": {}})


def test_the_workflows_run_scripts_that_exist_on_every_supported_python(
    project: dict[str, Any],
) -> None:
    texts = [path.read_text("utf-8") for path in (ROOT / ".github" / "workflows").glob("*.yml")]
    jobs = [job for text in texts for job in yaml.safe_load(text)["jobs"].values()]
    commands = {step["run"] for job in jobs for step in job["steps"] if "run" in step}
    for command in commands:
        assert all((ROOT / word).is_file() for word in command.split() if "scripts/" in word)
    versions = {version for job in jobs for version in _pythons(job)}
    assert {f"Programming Language :: Python :: {version}" for version in versions} == {
        one for one in project["classifiers"] if ":: 3." in one
    }


def _pythons(job: dict[str, Any]) -> list[str]:
    matrix = job.get("strategy", {}).get("matrix", {})
    return [*matrix.get("python", []), *(one["python"] for one in matrix.get("include", []))]
