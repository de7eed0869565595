"""Chapters that offer another data set run on one: of another size, without labels."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from notebooks import BOOK

CHAPTERS = [BOOK / f"{name}.ipynb" for name in ("06_training", "11_fast", "12_your_own_data")]


@pytest.mark.slow
def test_chapters_run_on_another_data_set():
    """Else "or datasets.pbmc3k()", or "put your own path here", would lead to an AssertionError."""
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("other_data.py"), *CHAPTERS],
        env=os.environ | {"MPLBACKEND": "agg", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
