"""Runs that write an index are killed at random moments; each leaves an intact index."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked")
@pytest.mark.parametrize("story", ["first", "update", "rebuild", "repair"])
def test_a_run_killed_at_random_moments_leaves_the_old_index_or_the_new_one(story: str) -> None:
    ran = subprocess.run(
        [sys.executable, "benchmarks/index_kills.py", "--kills", "10", "--story", story],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert re.search(r"\b10 kills\b", ran.stdout)
    assert re.search(r"\b[1-9]\d* ended\b", ran.stdout)
