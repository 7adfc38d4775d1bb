"""The other documentation pages: their blocks run unchanged, each page in a separate clone."""

import pytest

from tests import test_readme
from tests.pages import CORPORA, ROOT, Block, Clones, each_block

PAGES = sorted({*(ROOT / "docs").rglob("*.md")} - {*test_readme.PAGES})


@pytest.fixture(scope="module")
def clones(tmp_path_factory: pytest.TempPathFactory) -> Clones:
    """Clones that hold the index that the pages build, so that it is only updated."""
    clones = Clones(tmp_path_factory.mktemp("clones"))
    ran = clones.shell(f"ettin index {CORPORA}/everyday_answers -i answers", clones.like)
    assert ran.returncode == 0, ran.stderr
    return clones


@each_block(PAGES)
def test_a_block_runs_as_it_stands(block: Block, clones: Clones) -> None:
    clones.run(block)
