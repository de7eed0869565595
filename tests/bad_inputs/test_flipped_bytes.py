"""One flipped byte anywhere in a file: its counts, an error, or (where nothing can tell) others.

Neither HDF5 files as they are usually written nor plain text carry a checksum, so a byte that is
flipped within a count gives another count, and no reader could know. In gzip there is one.
"""

import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("flip_bytes.py")
TIMES = 200
CRASHES_ALLOWED = 5  # inside h5py, of all files


@pytest.fixture(scope="module")
def outcomes(seed):
    """What came of each kind of file, and where the process crashed if it did."""
    found, crashes = defaultdict(Counter), {}
    for _ in range(CRASHES_ALLOWED + 1):
        done = subprocess.run(
            [sys.executable, "-X", "faulthandler", SCRIPT, str(seed), str(TIMES), *crashes],
            capture_output=True,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        *_, last = done.stdout.splitlines()
        if done.returncode == 0:
            break
        crashes[last.rstrip(": ")] = done.stderr
    for line in done.stdout.splitlines():
        attempt, _, outcome = line.partition(": ")
        found[attempt.rpartition(" ")[0]][outcome] += 1
    return found, crashes


@pytest.mark.slow
def test_a_flipped_byte_gives_counts_or_an_error(outcomes):
    """Else a damaged file would give what is no counts, or raise what is no CountsError."""
    found, crashes = outcomes
    assert len(found) == 7
    for kind, counter in found.items():
        assert sum(counter.values()) >= TIMES - len(crashes)
        assert set(counter) <= {"same", "refused", "other", "memory"}, (kind, counter)
        assert counter["refused"] > 5


@pytest.mark.slow
def test_a_checksum_is_looked_at(outcomes):
    """Else a matrix that is compressed, as Cell Ranger writes it, would give other counts."""
    found, _ = outcomes
    assert found["mtx.gz"]["other"] == found["h5ad compressed"]["other"] == 0


@pytest.mark.slow
def test_nothing_crashes_but_the_library_that_decodes_the_file(outcomes):
    """Else positions outside of a matrix would reach scipy, which writes over other memory.

    HDF5's own library can't read all damaged files without a crash; from Python nothing helps.
    """
    _, crashes = outcomes
    for attempt, words in crashes.items():
        where = re.search(r'File "([^"]*)"', words)
        assert where and "h5py" in where[1], (attempt, words)
