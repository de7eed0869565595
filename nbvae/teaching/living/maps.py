"""The living figure of chapter 7: one latent space, drawn again and again."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from anndata import AnnData
from matplotlib.figure import Figure
from scipy.linalg import orthogonal_procrustes
from scipy.spatial.distance import pdist
from sklearn.neighbors import NearestNeighbors

from nbvae import evaluation
from nbvae.teaching.living.counts import LARGEST, whole
from nbvae.teaching.living.figure import LivingFigure, packed
from nbvae.teaching.living.states import kinds_of

NEAR = 15  # neighbours that lines lead to


def many_maps(
    adata: AnnData,
    latent: evaluation.Latent,
    maps: Mapping[int, Sequence[np.ndarray]],
    plane: tuple[str, np.ndarray],
    genes: Sequence[str],
    *,
    cell: int,
    still: Figure | None = None,
) -> LivingFigure:
    """Let the reader redraw a latent space, and see where a cell's true neighbours go.

    Args:
        adata: the cells, with raw counts and ``obs["cell_type"]``.
        latent: their approximate posteriors.
        maps: for each number of neighbours that UMAP was told to look at, a map for each seed,
            (n_cells, 2); the page begins with the first of the second number.
        plane: another map of the cells, to stand beside them, after its title.
        genes: by whose counts cells can be coloured, by name.
        cell: the number of the cell that is chosen first.
        still: the picture for where scripts do not run.

    """
    title, other = plane
    start = min(1, len(maps) - 1)
    first = list(maps.values())[start][0]
    near, apart = nearest(latent.mean), between_kinds(latent.mean, adata)

    def placed(points: np.ndarray) -> list[Any]:
        related = np.corrcoef(between_kinds(points, adata), apart)[0, 1]
        kept = kept_neighbours(near, points).mean()
        return [whole(on_unit_square(points)), round(float(kept), 4), round(float(related), 4)]

    values = {
        **kinds_of(adata),
        "start": start,
        "numbers": list(maps),
        "titles": ["UMAP of the latent means", title],
        "genes": [[gene, whole(adata[:, gene].X.toarray().ravel())] for gene in genes],
    }
    trained = {
        "cell": int(cell),
        "near": whole(near),
        "width": packed(latent.sd.mean(axis=1), "<f2"),
        "maps": [[placed(turned(points, first)) for points in of] for of in maps.values()],
        "plane": placed(other),
    }
    label = "Maps of one latent space, to touch and to draw anew"
    return LivingFigure("many_maps", label, values, trained=trained, still=still)


def nearest(points: np.ndarray, k: int = NEAR) -> np.ndarray:
    """Return the k nearest other cells of each, nearest first. (n_cells, k)."""
    return NearestNeighbors(n_neighbors=k).fit(points).kneighbors(return_distance=False)


def kept_neighbours(near: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the share of each cell's neighbours that are its nearest on a map, too.

    Args:
        near: the neighbours, (n_cells, k).
        points: the map, (n_cells, 2).

    """
    pairs = zip(near, nearest(points, near.shape[1]), strict=True)
    return np.array([len(set(a) & set(b)) / near.shape[1] for a, b in pairs])


def between_kinds(points: np.ndarray, adata: AnnData) -> np.ndarray:
    """Return the distances between the centres of the types of cells, pair by pair."""
    kinds = adata.obs["cell_type"].astype("category").cat
    centres = [points[kinds.codes == code].mean(axis=0) for code in range(len(kinds.categories))]
    return pdist(np.array(centres))


def turned(points: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Turn a map, perhaps with a mirror, to lie as much like another as it can.

    UMAP's axes mean nothing, so that a turn is no difference between two maps.
    """
    centred = points - points.mean(axis=0)
    rotation, _ = orthogonal_procrustes(centred, target - target.mean(axis=0))
    return centred @ rotation


def on_unit_square(points: np.ndarray) -> np.ndarray:
    """Scale a map, one scale for both axes, to whole numbers of two bytes."""
    low, high = points.min(axis=0), points.max(axis=0)
    middle, side = (low + high) / 2, (high - low).max()
    return np.rint(LARGEST * np.clip(0.5 + (points - middle) / side, 0, 1))
