"""What the tests share: the sample, a small synthetic data set, and fixed random numbers.

`pytest tests --seed 3` runs them with other random numbers; a test that passes with some seeds only
says something about the seed.
"""

import gc
import os

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData
from scipy import sparse

from nbvae import datasets

torch.set_num_threads(1)  # the networks are tiny: more threads wait longer than they compute


def pytest_addoption(parser):
    parser.addoption("--seed", type=int, default=0, help="of what the tests draw (default 0)")


def pytest_collection_finish():
    """What was imported and collected stays: don't look through it for garbage again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def seed(request):
    return request.config.getoption("seed")


@pytest.fixture(autouse=True)
def fixed_random_numbers(seed):
    torch.manual_seed(seed)


@pytest.fixture(scope="session")
def sc():
    """Scanpy. Loading it takes seconds, so tests with it are slow: `make check` goes without."""
    import scanpy

    return scanpy


@pytest.fixture(scope="session")
def read_only_sample():
    return datasets.pbmc68k_sample()


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The pages of the book: built once, by the first process that asks for them."""
    from building import build_once  # tests/parity has no Jupyter Book

    base = tmp_path_factory.getbasetemp()
    return build_once(base.parent if "PYTEST_XDIST_WORKER" in os.environ else base)


@pytest.fixture
def sample(read_only_sample):
    """The 700 cells that come with scanpy; a copy, so that a test may change it."""
    return read_only_sample.copy()


@pytest.fixture
def blood(read_only_sample):
    """The sample's counts as a tensor, (700, 765)."""
    return torch.from_numpy(read_only_sample.X.toarray())


@pytest.fixture
def small(seed):
    """53 cells × 12 genes in three groups, each of which has four genes of its own."""
    rng = np.random.default_rng(seed)
    group = np.repeat([0, 1, 2], [24, 18, 11])
    mean = np.where(np.arange(12) // 4 == group[:, None], 12.0, 1.5)
    counts = rng.negative_binomial(3, 3 / (3 + mean))
    counts[:, 0] += 1  # no cell is empty
    return AnnData(
        X=sparse.csr_matrix(counts.astype(np.float32)),
        obs=pd.DataFrame(
            {"group": np.array(["a", "b", "c"])[group]}, index=[f"cell-{i}" for i in range(53)]
        ),
        var=pd.DataFrame(index=[f"GENE{i}" for i in range(12)]),
    )


@pytest.fixture
def told(small):
    """The same cells with two categories, a number and a size factor, in ``obs``."""
    rng = np.random.default_rng(1)
    small.obs["run"] = np.array(["new", "old"])[rng.integers(2, size=53)]
    small.obs["percent_mito"] = rng.gamma(4, 1.5, size=53)
    small.obs["depth"] = np.asarray(small.X.sum(axis=1)).ravel() * rng.gamma(50, 0.1, size=53)
    return small


@pytest.fixture
def two_groups():
    """60 cells: 30 with ten counts of gene A, 30 with ten of gene B; and some counts of C."""
    counts = np.zeros((60, 5), dtype=np.float32)
    counts[:30, 0] = counts[30:, 1] = 10
    counts[:, 2] = 7
    obs = pd.DataFrame(
        {"donor": ["p", "q"] * 30, "side": ["one"] * 30 + ["two"] * 30},
        index=[f"cell-{i}" for i in range(60)],
    )
    return AnnData(X=counts, obs=obs, var=pd.DataFrame(index=list("ABCDE")))
