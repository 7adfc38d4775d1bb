"""Helpers for tests of plugins: an installed package, and `ettin` in its environment."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).parents[1]


def install(
    site: Path, package: str, source: str, entry_points: Mapping[str, Mapping[str, str]]
) -> None:
    """Write a module and the metadata of its distribution, version 0.1.

    Args:
        entry_points: By group and name, the object in the module.
    """
    module = package.replace("-", "_")
    site.mkdir(exist_ok=True)
    (site / f"{module}.py").write_text(dedent(source))
    info = site / f"{module}-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 0.1\n")
    lines = [
        line
        for group, named in entry_points.items()
        for line in (f"[{group}]", *(f"{name} = {module}:{one}" for name, one in named.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


def ettin_with(
    site: Path, folder: Path, *words: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run `ettin` in a process that sees the packages of a site folder."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("ETTIN_")},
        "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "ETTIN_CACHE_DIR": str(folder / "cache"),
        "ETTIN_DEVICE": "cpu",
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(folder / "hf"),
        "COLUMNS": "80",
        **variables,
    }
    return subprocess.run(
        [sys.executable, "-m", "ettin_cli", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )
