"""A sample of each figure that moves, from small numbers, and a page that holds nothing else."""

import base64
import io
import itertools
import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from scipy import sparse

from nbvae import NBVAE, evaluation, expression, nb_log_prob
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


def differences():
    """Two comparisons of the table's kinds by that model."""
    return {
        (one, two): expression.differential_expression(
            untrained(), table(), one, two, groupby="cell_type", n_samples=200
        )
        for one, two in (("A", "B"), ("A", "C"))
    }


LINEAGE = np.arange(60) % 2
SHARES, EPOCHS = (0.5, 0.0), (1, 5, 20)


def dealt(share):
    """Which experiment each cell is from: at a share of 0 that is its lineage."""
    lot = np.random.default_rng(4).random(60)
    return np.where(LINEAGE == 1, lot >= share, lot >= 1 - share).astype(int)


def places():
    """A map for each share, model and epoch: two clouds that part as training goes on."""
    rng = np.random.default_rng(5)
    return {
        share: {
            name: [
                rng.normal(size=(60, 2)) + apart * epoch * LINEAGE[:, None] / 10 for epoch in EPOCHS
            ]
            for name, apart in (("not told", 2.0), ("told", 0.7))
        }
        for share in SHARES
    }


SHOWN = [f"GENE{g}" for g in range(8)]
LIBRARY = np.linspace(300, 1200, 80).round()
COUNTS = np.random.default_rng(1).negative_binomial(2, 2 / (2 + 0.01 * LIBRARY))


def drawn(seed, test=0.0, train=0.0):
    """Sixty draws of three genes."""
    rng = np.random.default_rng(seed)
    means = rng.gamma(0.4, 6.0, (60, 3))
    return living.Drawn(means, rng.poisson(means), test, train)


PRIORS = {"N(0, I)": drawn(1, 665.1, 640.3), "10 components": drawn(2, 663.2, 639.1)}


def watched():
    """A run with a negative binomial and one with Poisson counts, of that table."""
    runs = {"all is well": "nb", "no scatter": "poisson"}
    for name, likelihood in runs.items():
        module = NBVAE.for_counts(table(), seed=0, likelihood=likelihood)
        runs[name] = living.Watched(device="cpu").watch(module, table())
    return runs


SIGNS = {"all is well": "Nothing is wrong.", "no scatter": "θ is infinite."}

SCORES = {
    name: dict(zip(("reported", "true", "kl", "sd", "ari"), numbers, strict=True))
    for name, numbers in {
        "correct": (667.25, 668.5, 11.25, 0.39, 0.5),
        "no draw": (658.0, 1124.0, 1.5, 1.0, 0.5),
        "mean for sum": (727.0, 727.5, 0.0, 1.0, 0.0),
        "mixed meanings": (665.0, 671.0, 14.0, 0.24, 0.5),
        "a constant in the logarithms": (667.0, 668.0, 11.0, 0.39, 0.5),
        "a draw without a way back": (690.0, 691.0, 1.0, 0.9, 0.2),
    }.items()
}


def several_maps():
    """Maps of the table by chance, two for each of three numbers of neighbours."""
    rng = np.random.default_rng(3)
    return {number: [rng.normal(size=(60, 2)) for _ in range(2)] for number in (5, 15, 50)}


def latent():
    """Posteriors of its cells, by chance, too."""
    rng = np.random.default_rng(4)
    return evaluation.Latent(rng.normal(size=(60, 10)), rng.uniform(0.2, 1, size=(60, 10)))


def expected():
    """Counts, means of two draws of z and θ, as of a model that is too unsure by a factor of 4."""
    rng = np.random.default_rng(6)
    mean = rng.gamma(2, 2, size=(1, 50, 6)) * rng.uniform(0.9, 1.1, size=(2, 50, 6))
    theta = np.array([0.5, 1.0, 2.0, 2.0, 3.0, 5.0])
    true = 4 * theta
    counts = rng.negative_binomial(true, true / (true + mean.mean(axis=0)))
    return counts, mean, theta


PLANE = np.random.default_rng(5).normal(size=(60, 2))


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
MEASURED = {"textbook": (84, 48, 6, 71), "nbvae": (1, 33, 10, 56)}
PARTS = ("log-gammas", "products", "Adam", "the rest")


def grid():
    """Two rates, three warm-ups and two seeds; the last run goes beyond what the page can hold."""
    spans = ((80, 99), (90, 140), (2, 9))
    rng = np.random.default_rng(5)
    runs = [
        living.Run(
            rate,
            warmup,
            seed,
            int(rng.integers(1, 9)),
            *(rng.uniform(*span, 5).round(2).tolist() for span in spans),
        )
        for rate, warmup, seed in itertools.product((0.001, 0.01), (0, 2, 4), (0, 1))
    ]
    last = runs[-1]
    return [*runs[:-1], last._replace(train=[9e9] * 5)]


FIGURES = {
    "catch_rate": lambda: living.catch_rate(
        table()[0].X.toarray().ravel(), {gene: g for g, gene in enumerate(SHOWN)}
    ),
    "negative_binomial": lambda: living.negative_binomial(LIBRARY, {"LYZ": COUNTS}, "80 cells"),
    "state_by_hand": lambda: living.state_by_hand(untrained(), table(), SHOWN, cell=3),
    "latent_map": lambda: living.latent_map(
        untrained(), table(), SHOWN, np.random.default_rng(2).normal(size=(60, 2)), cell=3
    ),
    "many_maps": lambda: living.many_maps(
        table(), latent(), several_maps(), ("two components", PLANE), SHOWN[:2], cell=3
    ),
    "prior_draws": lambda: living.prior_draws(["CD79A", "LST1", "NKG7"], drawn(0), PRIORS),
    "q_by_hand": lambda: living.q_by_hand(CELLS),
    "calibration": lambda: living.calibration(*expected(), {"GENE0": 0, "GENE4": 4}),
    "two_experiments": lambda: living.two_experiments(
        places(),
        {share: dealt(share) for share in SHARES},
        LINEAGE,
        EPOCHS,
        lineages=("lymphocytes", "myeloid cells"),
    ),
    "volcano": lambda: living.volcano(differences(), gene="GENE3", markers=["GENE7", "GENE2"]),
    "quality_control": lambda: living.quality_control(**rows_of_a_file()),
    "gene_choice": lambda: living.gene_choice(**scores_of_genes()),
    "likelihood_terms": lambda: living.likelihood_terms(MINIBATCH),
    "step_costs": lambda: living.step_costs(steps_of_training(), 1000, MEASURED, PARTS),
    "gradient_race": lambda: living.gradient_race(CELLS["3 counts"], sd=0.6),
    "switchboard": lambda: living.switchboard(torch.from_numpy(table().X.toarray()), SCORES),
    "training_grid": lambda: living.training_grid(grid(), no_z=110.0),
    "training_scrubber": lambda: living.training_scrubber(watched(), SIGNS, no_z=110.0),
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
