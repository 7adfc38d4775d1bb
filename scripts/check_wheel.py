"""Build the wheel and the sdist, and run the quickstart from the installed wheel.

    python scripts/check_wheel.py [--without-torch] [--home FOLDER] [--keep FOLDER] [--tag TAG]

The wheel is installed in a new environment outside the checkout, which finds the dependencies in
the environment that runs this script; nothing is downloaded.
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
# Not needed on a CPU.
TORCH = ("torch", "transformers", "sentence_transformers")
PACKAGE, CORPORA = "ettin_cli", "sample_corpora"
FILES = ("pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "constraints.txt")


def tracked(folder: str) -> set[str]:
    """Return the files of a folder of the checkout or sdist that a build may not leave out."""
    if (ROOT / ".git").exists() and (git := shutil.which("git")):
        words = [git, "ls-files", "-z", "--", folder]
        listed = subprocess.run(words, cwd=ROOT, capture_output=True, check=True).stdout
        return set(listed.decode().split("\0")) - {""}
    found = (path for path in (ROOT / folder).rglob("*") if path.is_file())
    return {path.relative_to(ROOT).as_posix() for path in found if "__pycache__" not in path.parts}


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


def install(wheel: Path, folder: Path, hidden: tuple[str, ...]) -> Path:
    """Install a wheel in a new environment without some modules; return its folder of programs."""
    venv.create(folder, with_pip=False)
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    python = programs / ("python.exe" if os.name == "nt" else "python")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install"]
    subprocess.run([*pip, "--quiet", "--no-index", "--no-deps", str(wheel)], check=True)
    site = Path(
        sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)})
    )
    # Not as a site folder: the editable installation of this checkout must not come along.
    paths = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    lines = [*sorted(paths), f"import sys; sys.modules.update(dict.fromkeys({hidden!r}))"]
    (site / "dependencies.pth").write_text("\n".join(lines), encoding="utf-8")
    code = "import ettin_cli; print(ettin_cli.__file__)"
    found = subprocess.run(
        [python, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    ).stdout.strip()
    if not Path(found).resolve().is_relative_to(site.resolve()):
        sys.exit(f"not the installed wheel, but {found} was imported")
    return programs


def run(block: Block, programs: Path, home: Path) -> None:
    """Run the commands of a block, in a folder of a home folder.

    Raises:
        SystemExit: One of them fails.
    """
    script = block.text
    if block.kind == "console":
        lines = [line.removeprefix("$ ") for line in script.splitlines() if line.startswith("$ ")]
        script = "\n".join(lines)
    print(f"{block}: {script.strip().splitlines()[0]}", flush=True)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("ETTIN_", "PYTHON", "XDG_"))}
    own = dict.fromkeys(("HOME", "USERPROFILE", "LOCALAPPDATA", "APPDATA", "TEMP"), str(home))
    environment = {
        **kept,
        **own,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "ETTIN_DEVICE": "cpu",
        "HF_HUB_OFFLINE": "1",
    }
    words = [shutil.which("bash") or "bash", "-e", "-o", "pipefail", "-c", script]
    ran = subprocess.run(
        words, cwd=home / "work", env=environment, capture_output=True, check=False
    )
    if ran.returncode:
        output = (ran.stdout + ran.stderr).decode("utf-8", "replace")
        sys.exit(f"{script}\n{output}exit code {ran.returncode}")


def check_tag(tag: str, wheel: Path) -> None:
    """Compare the tag of a release with the version of the wheel and of CHANGELOG.md.

    Raises:
        SystemExit: They differ.
    """
    version = wheel.name.split("-")[1]
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    if tag != f"v{version}":
        sys.exit(f"the tag is {tag}, but the version {version}: change ettin_cli/__init__.py")
    if f"\n## {version} (" not in changes:
        sys.exit(f"CHANGELOG.md has no section {version}")


def main() -> None:
    """Build, compare, install and run; the first failure ends it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--without-torch", action="store_true", help="hide torch and its users")
    parser.add_argument("--home", type=Path, help="where the home folder and the wheel are made")
    parser.add_argument("--keep", type=Path, help="copy the wheel and the sdist to this folder")
    parser.add_argument("--tag", help="the tag of the release, such as v0.2.0")
    arguments = parser.parse_args()
    if arguments.home:
        arguments.home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=arguments.home, ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        wheel, sdist = build(folder)
        if lacking := missing(wheel, sdist):
            sys.exit("\n".join(lacking))
        print(f"{wheel.name} and {sdist.name} are complete")
        if arguments.tag:
            check_tag(arguments.tag, wheel)
        hidden = TORCH if arguments.without_torch else ()
        programs = install(wheel, folder / "environment", hidden)
        (folder / "home" / "work").mkdir(parents=True)
        demo = Block(PAGES[0], 1, "bash", "ettin demo", "")
        blocks = [demo, *(block for block in runnable(PAGES) if block.kind != "python")]
        for block in blocks:
            run(block, programs, folder / "home")
        print(f"{len(blocks)} blocks of the quickstart and the README ran")
        if arguments.keep:
            arguments.keep.mkdir(parents=True, exist_ok=True)
            for made in (wheel, sdist):
                shutil.copy(made, arguments.keep)


if __name__ == "__main__":
    main()
