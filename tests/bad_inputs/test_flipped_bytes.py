"""One flipped byte anywhere in a file: its counts, an error, or (where nothing can tell) others.

Neither HDF5 files as they are usually written nor plain text carry a checksum, so a byte that is
flipped within a count gives another count, and no reader could know. In gzip there is one.
"""

import re
from collections import Counter

import pytest
from flip_bytes import KINDS, surviving

TIMES = 200
CRASHES_ALLOWED = 5  # inside h5py, of all files


@pytest.fixture(scope="module")
def outcomes(seed):
    """How often what came of each kind of file, and what was said where the process crashed."""
    found, crashes = {}, {}
    for kind in KINDS:
        told, crashed = surviving(kind, seed, TIMES)
        found[kind] = Counter(told.values())
        crashes |= crashed
    return found, crashes


@pytest.mark.slow
def test_a_flipped_byte_gives_counts_or_an_error(outcomes):
    """Else a damaged file would give what is no counts, or raise what is no CountsError."""
    found, crashes = outcomes
    assert len(found) == 7
    assert len(crashes) <= CRASHES_ALLOWED
    assert sum(map(Counter.total, found.values())) == 7 * TIMES - len(crashes)
    for kind, counter in found.items():
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
