"""Four cells × three genes with names, for messages that have to name them."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from nbvae import CountsError, count_matrix

COUNTS = np.array([[3, 0, 1], [0, 2, 0], [1, 1, 7], [0, 0, 4]])


def annotated(matrix):
    """An AnnData with names, so that a message can be checked for them."""
    n_cells, n_genes = matrix.shape
    return AnnData(
        X=matrix,
        obs=pd.DataFrame(index=[f"AAAC-{i}" for i in range(n_cells)]),
        var=pd.DataFrame(index=["CD3D", "LYZ", "NKG7"][:n_genes]),
    )


def refusal(adata, **options):
    with pytest.raises(CountsError) as caught:
        count_matrix(adata, **options)
    return str(caught.value)
