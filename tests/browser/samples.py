"""A sample of each figure that moves, from small numbers, and a page that holds nothing else."""

import base64
import io
import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from scipy import sparse

from nbvae import NBVAE, nb_log_prob
from nbvae.teaching import Work, living
from nbvae.teaching.living.figure import FOLDER, SHARED
from nbvae.teaching.living.speed import KINDS

THETA = 5.0


def log_lik(counts, decode):
    """log p(x | z) of chapter 4's small model, a function of z."""
    x = torch.tensor(counts, dtype=torch.float64)
    log_theta = torch.tensor(math.log(THETA), dtype=torch.float64)

    def of(z):
        log_mean = x.sum().log() + torch.log_softmax(decode(z), -1)
        return nb_log_prob(x, log_mean, log_theta).sum(-1)

    return of


def three_genes(z):
    return torch.stack([1.5 * z, -z, torch.zeros_like(z)], -1)


def mirrored(z):
    return torch.stack([2 * z**2, torch.full_like(z, 2.0), torch.zeros_like(z)], -1)


CELLS = {
    "3 counts": log_lik([2, 0, 1], three_genes),
    "two humps": log_lik([60, 15, 5], mirrored),
}


def picture():
    fig, ax = plt.subplots(figsize=(2, 1))
    ax.plot([0, 1])
    return fig


def table():
    """Sixty cells of three kinds and 30 genes, drawn once."""
    rng = np.random.default_rng(0)
    kind = np.repeat([0, 1, 2], 20)
    shares = rng.dirichlet(np.full(30, 0.5), 3)[kind]
    counts = rng.negative_binomial(2, 2 / (2 + 300 * shares)).astype(np.float32)
    names = [f"GENE{g}" for g in range(30)]
    cells = [f"cell {n}" for n in range(60)]
    obs = pd.DataFrame({"cell_type": pd.Categorical.from_codes(kind, list("ABC"))}, index=cells)
    return AnnData(sparse.csr_matrix(counts), obs=obs, var=pd.DataFrame(index=names))


def untrained():
    """A model of that table with weights that are not small."""
    torch.manual_seed(0)
    model = NBVAE.for_counts(table(), n_latent=10)
    with torch.no_grad():
        for weight in model.decoder.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
        model.log_theta.add_(0.5 * torch.randn_like(model.log_theta))
    return model.eval()


SHOWN = [f"GENE{g}" for g in range(8)]
LIBRARY = np.linspace(300, 1200, 80).round()
COUNTS = np.random.default_rng(1).negative_binomial(2, 2 / (2 + 0.01 * LIBRARY))


def rows_of_a_file():
    """300 rows: two kinds of cells, and two of what should go."""
    rng = np.random.default_rng(3)
    kinds = np.repeat(["T", "Monocyte", "empty", "doublet"], [160, 100, 20, 20])
    library = np.rint(
        rng.lognormal(7.3, 0.5, 300) * np.repeat([1, 0.8, 0.2, 2], [160, 100, 20, 20])
    )
    return {
        "library": library,
        "detected": np.rint(3.5 * library**0.55),
        "mito": rng.beta(4, 150, 300).astype(np.float32),
        "kinds": kinds,
        "bad": ["empty", "doublet"],
    }


def scores_of_genes():
    """The sample table's genes, ranked by two scores."""
    counts = table().X.toarray()
    return {
        "names": list(table().var_names),
        "mean": counts.mean(0),
        "scores": {"ratio": counts.var(0) / counts.mean(0), "variance": counts.var(0)},
        "markers": SHOWN[:5],
        "start": 12,
        "agreement": {10: [0.7, 0.6], 30: [0.9, 0.9]},
    }


def steps_of_training():
    """What four steps compute, each number another."""
    steps = {}
    for i, likelihood in enumerate(("textbook", "by hand")):
        for j, layer in enumerate(("dense", "sparse")):
            work = steps[likelihood, layer] = Work()
            work.calls = 100 + 10 * i + j
            work.numbers.update({k: 1000 * (5 - 4 * i + n + 100 * j) for n, k in enumerate(KINDS)})
    return steps


MINIBATCH = np.array([[0, 0, 0, 1, 1], [2, 3, 16, 17, 40]])
MEASURED = {"textbook": (40, 23, 3, 34), "nbvae": (1, 33, 10, 56)}
SHARES = ("log-gammas", "products", "Adam", "the rest")

FIGURES = {
    "catch_rate": lambda: living.catch_rate(
        table()[0].X.toarray().ravel(), {gene: g for g, gene in enumerate(SHOWN)}
    ),
    "negative_binomial": lambda: living.negative_binomial(LIBRARY, {"LYZ": COUNTS}, "80 cells"),
    "state_by_hand": lambda: living.state_by_hand(untrained(), table(), SHOWN, cell=3),
    "latent_map": lambda: living.latent_map(
        untrained(), table(), SHOWN, np.random.default_rng(2).normal(size=(60, 2)), cell=3
    ),
    "q_by_hand": lambda: living.q_by_hand(CELLS),
    "quality_control": lambda: living.quality_control(**rows_of_a_file()),
    "gene_choice": lambda: living.gene_choice(**scores_of_genes()),
    "likelihood_terms": lambda: living.likelihood_terms(MINIBATCH),
    "step_costs": lambda: living.step_costs(steps_of_training(), 1000, MEASURED, SHARES),
    "gradient_race": lambda: living.gradient_race(CELLS["3 counts"], sd=0.6),
}


def scripts():
    """The names of all figures that there are."""
    return {path.stem for path in FOLDER.glob("*.js") if path.name not in SHARED}


def document(figure):
    """A page with the figure's picture and its stored form, as in the book, and the script."""
    stored = io.BytesIO()
    fig = picture()
    fig.savefig(stored, format="png")
    plt.close(fig)
    image = base64.b64encode(stored.getvalue()).decode()
    return f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Figure</title>
<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">
<style>body {{ font-family: sans-serif; margin: 16px auto; max-width: 760px }}
{living.style()}</style></head><body><main><h1>Figure</h1><div class="cell_output">
<img alt="a picture with the same message" src="data:image/png;base64,{image}">
<div class="output text_html">{figure.light_html()}</div></div></main>
<script>{living.script()}</script></body></html>"""
