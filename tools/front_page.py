"""Make the map of cells on the front page, a figure that moves: `make front`.

It trains the model of chapter 7 and writes book/assets/latent_map.html, which book/intro.md
includes. The chapter's own picture, assets/latent_umap.png, stands in for it where scripts do not
run.
"""

import warnings

import torch
from notebooks import BOOK

from nbvae import NBVAE, Trainer, datasets, evaluation
from nbvae.teaching import living

TARGET = BOOK / "assets" / "latent_map.html"
CELL = "AAAGCCTGGCTAAC-1"
GENES = ("FTL", "LYZ", "CST3", "HLA-DRA", "CD79A", "CD3D", "LTB", "NKG7", "GNLY", "FCER1A")
PICTURE = "fig-intro"  # the name of the picture in book/intro.md


def figure() -> living.LivingFigure:
    """Train as chapter 7 does, and return the map of its states."""
    import scanpy as sc  # here only: importing it takes seconds

    adata = datasets.pbmc68k_sample()
    torch.manual_seed(0)
    model = NBVAE.for_counts(adata)
    Trainer(stratify_by="cell_type").fit(model, adata)
    evaluation.add_latent(model, adata)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # UMAP says that a seed costs it its threads
        sc.pp.neighbors(adata, n_neighbors=15, use_rep="X_nbvae", random_state=0)
        sc.tl.umap(adata, random_state=0)
    cell = adata.obs_names.get_loc(CELL)
    return living.latent_map(model, adata, GENES, adata.obsm["X_umap"], cell=cell)


def main() -> None:
    """Write the figure's stored form."""
    html = figure().light_html().replace("<div ", f'<div data-still="{PICTURE}" ', 1)
    TARGET.write_text(html + "\n", encoding="utf-8")
    print(f"{TARGET.relative_to(BOOK.parent)}: {len(html) / 1000:.0f} kB")


if __name__ == "__main__":
    main()
