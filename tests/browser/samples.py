"""A sample of each figure that moves, from small numbers, and a page that holds nothing else."""

import base64
import io
import math

import matplotlib.pyplot as plt
import torch

from nbvae import nb_log_prob
from nbvae.teaching import living
from nbvae.teaching.living.figure import FOLDER, SHARED

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


FIGURES = {
    "q_by_hand": lambda: living.q_by_hand(CELLS),
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
{figure.light_html()}</div></main><script>{living.script()}</script></body></html>"""
