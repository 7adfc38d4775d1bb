"""Build the wheel and the sdist, and run the quickstart from the installed wheel.

    python scripts/check_wheel.py [--installed]

The wheel is installed in a new environment outside the checkout, which finds the dependencies in
the environment that runs this script; nothing is downloaded. With `--installed`, the `ettin` of
the environment that runs this script is used instead, to check one that was installed by pip.
"""

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.pages import Block, runnable  # noqa: E402

PAGES = [ROOT / "docs" / "quickstart.md", ROOT / "README.md"]
# The package, and what only a clone needs.
PACKAGE, CORPORA = "ettin_cli", "sample_corpora"
FILES = ("pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "constraints.txt")


def tracked(folder: str) -> set[str]:
    """Return the files of a folder of the checkout that a build may not leave out."""
    found = (path for path in (ROOT / folder).rglob("*") if path.is_file())
    return {
        path.relative_to(ROOT).as_posix() for path in found if "__pycache__" not in path.parts
    }


def build(folder: Path) -> tuple[Path, Path]:
    """Build the sdist, and the wheel from it, as `python -m build` does; return wheel and sdist."""
    from hatchling import build as hatchling

    at = Path.cwd()
    try:
        os.chdir(ROOT)
        sdist = folder / hatchling.build_sdist(str(folder))
        with tarfile.open(sdist) as file:
            file.extractall(folder / "unpacked", filter="data")
        os.chdir(next((folder / "unpacked").iterdir()))
        return folder / hatchling.build_wheel(str(folder)), sdist
    finally:
        os.chdir(at)


def missing(wheel: Path, sdist: Path) -> list[str]:
    """Return what a wheel and an sdist should hold and do not."""
    with zipfile.ZipFile(wheel) as file:
        in_wheel = set(file.namelist())
    with tarfile.open(sdist) as file:
        in_sdist = {name.partition("/")[2] for name in file.getnames()}
    corpora = tracked(CORPORA)
    [information] = {name.partition("/")[0] for name in in_wheel if ".dist-info/" in name}
    wanted = {*tracked(PACKAGE), *(f"{PACKAGE}/{name}" for name in corpora)}
    wanted |= {f"{information}/{name}" for name in ("licenses/LICENSE", "entry_points.txt")}
    source = {*tracked(PACKAGE), *corpora, *tracked("tests"), *tracked("docs"), *FILES}
    return sorted({*(f"wheel: {name}" for name in wanted - in_wheel),
                   *(f"sdist: {name}" for name in source - in_sdist)})  # fmt: skip


def install(wheel: Path, folder: Path) -> Path:
    """Install a wheel in a new environment and return the folder of its programs."""
    venv.create(folder, with_pip=False)
    scripts = folder / ("Scripts" if os.name == "nt" else "bin")
    python = scripts / ("python.exe" if os.name == "nt" else "python")
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index",
         "--no-deps", wheel],
        check=True,
    )  # fmt: skip
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout
    # Not as a site folder: the editable installation of this checkout must not come along.
    paths = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    Path(site.strip(), "dependencies.pth").write_text("\n".join(sorted(paths)), encoding="utf-8")
    return scripts


def run(block: Block, programs: Path, folder: Path) -> None:
    """Run the commands of a block in a folder.

    Raises:
        SystemExit: One of them fails.
    """
    script = block.text
    if block.kind == "console":
        lines = [line.removeprefix("$ ") for line in script.splitlines() if line.startswith("$ ")]
        script = "\n".join(lines)
    print(f"{block}: {script.strip().splitlines()[0]}", flush=True)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("ETTIN_", "PYTHON"))}
    environment |= {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "ETTIN_CACHE_DIR": str(folder.parent / "cache"),
        "ETTIN_DEVICE": "cpu",
        "HF_HUB_OFFLINE": "1",
        "PYTHONUTF8": "1",
    }
    words = [shutil.which("bash") or "bash", "-e", "-o", "pipefail", "-c", script]
    ran = subprocess.run(words, cwd=folder, env=environment, capture_output=True, check=False)
    if ran.returncode:
        sys.exit(f"{script}\n{ran.stdout.decode()}{ran.stderr.decode()}exit code {ran.returncode}")


def main() -> None:
    """Build, compare, install and run; the first failure ends it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--installed", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        programs = Path(sysconfig.get_path("scripts"))
        if not arguments.installed:
            wheel, sdist = build(folder)
            if lacking := missing(wheel, sdist):
                sys.exit("\n".join(lacking))
            print(f"{wheel.name} and {sdist.name} are complete")
            programs = install(wheel, folder / "environment")
        (folder / "elsewhere").mkdir()
        blocks = [block for block in runnable(PAGES) if block.kind != "python"]
        for block in blocks:
            run(block, programs, folder / "elsewhere")
        print(f"{len(blocks)} blocks of the quickstart and the README ran")


if __name__ == "__main__":
    main()
