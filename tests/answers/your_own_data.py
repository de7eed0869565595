"""Answers to the exercises of nbvae/teaching/exercises/your_own_data.py, right and wrong."""

import copy
from fractions import Fraction

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from torch import nn

from nbvae import NBVAE, evaluation


def quality_by_masks(counts, names):
    mito = np.array([name.upper().startswith("MT-") for name in names])
    library = counts.sum(axis=1)
    return library, (counts > 0).sum(axis=1), counts[:, mito].sum(axis=1) / library


def quality_by_loops(counts, names):
    rows = []
    for row in counts:
        mito = sum(n for n, name in zip(row, names, strict=True) if name[:3] in ("MT-", "mt-"))
        rows.append((sum(row), sum(n > 0 for n in row), mito / sum(row)))
    return tuple(map(list, zip(*rows, strict=True)))


def quality_with(test, scale=1.0):
    def quality(counts, names):
        library, detected, _ = quality_by_masks(counts, names)
        mito = np.array([test(name) for name in names])
        return library, detected, scale * counts[:, mito].sum(axis=1) / library

    return quality


def quality_of_genes(counts, names):
    return counts.sum(axis=0), (counts > 0).sum(axis=0), counts.mean(axis=0)


def weight_by_formula(n_cells):
    return (max(1, min(400, round(8_000_000 / n_cells))) - 1) / 400


def weight_by_walking(n_cells):
    epochs = 400 if n_cells <= 20_000 else max(round(400 * 20_000 / n_cells), 1)
    return [epoch / 400 for epoch in range(epochs)][-1]


def by_place_of_a_copy(module, table):
    blind = copy.deepcopy(module)
    blind.genes = None
    return evaluation.elbo(blind, table[:, ::-1].copy()).neg_elbo


def by_place_of_its_weights(module, table):
    """Another module, and renamed columns instead of reversed ones."""
    blind = NBVAE(module.n_genes, module.n_latent, n_hidden=module.n_hidden)
    blind.load_state_dict(module.state_dict())
    return torch.tensor(evaluation.elbo(blind, table[:, list(table.var_names[::-1])]).neg_elbo)


def by_place_in_place(module, table):
    module.genes = None
    return evaluation.elbo(module, table[:, ::-1].copy()).neg_elbo


def guarded(module, table):
    return evaluation.elbo(module, table[:, ::-1].copy()).neg_elbo


def rise_by_place(module, table):
    return by_place_of_a_copy(module, table) - guarded(module, table)


def linear(weight, bias):
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.load_state_dict({"weight": weight.detach(), "bias": bias.detach()})
    return layer


def trunk_by_cat(mean, logvar, order=1, blind=0.0):
    (a, _, c), (b, _, d) = mean.layers, logvar.layers
    off = torch.full_like(c.weight, blind)
    heads = [
        linear(torch.cat([c.weight, off], dim=1), c.bias),
        linear(torch.cat([off, d.weight], dim=1), d.bias),
    ]
    trunk = linear(torch.cat([a.weight, b.weight]), torch.cat([a.bias, b.bias]))
    return trunk, *heads[::order]


def trunk_by_blocks(mean, logvar):
    (a, _, c), (b, _, d) = mean.layers, logvar.layers
    hidden = a.out_features
    trunk = nn.Linear(a.in_features, 2 * hidden)
    heads = nn.Linear(2 * hidden, c.out_features), nn.Linear(2 * hidden, d.out_features)
    with torch.no_grad():
        trunk.weight[:hidden], trunk.weight[hidden:] = b.weight, a.weight  # the other way round
        trunk.bias[:hidden], trunk.bias[hidden:] = b.bias, a.bias
        for head, last, own in zip(heads, (c, d), (1, 0), strict=True):
            head.weight.zero_()
            head.weight[:, own * hidden : (own + 1) * hidden] = last.weight
            head.bias.copy_(last.bias)
    return trunk, *heads


def trunk_of_one(mean, logvar):
    (a, _, c), (_, _, d) = mean.layers, logvar.layers
    return a, c, d


def trunk_without_biases(mean, logvar):
    trunk, *heads = trunk_by_cat(mean, logvar)
    nn.init.zeros_(trunk.bias)
    return trunk, *heads


def report(before, after, verdict, changed="n_latent"):
    return lambda: {"changed": changed, "before": before, "after": after, "verdict": verdict}


def quality_as_array(counts, names):
    """One (3, N) array; names as pandas has them."""
    mito = names.str.lower().str.startswith("mt-")
    library = counts.sum(1)
    return np.stack([library, np.count_nonzero(counts, axis=1), counts[:, mito].sum(1) / library])


def quality_as_tensors(counts, names):
    table = pd.DataFrame(counts, columns=names)
    mito = table.filter(regex="(?i)^mt-").sum(axis=1) / table.sum(axis=1)
    return (torch.tensor(part.to_numpy()) for part in (table.sum(axis=1), (table > 0).sum(1), mito))


def quality_of_detected(detected):
    def quality(counts, names):
        library, _, share = quality_by_masks(counts, names)
        return library, detected(counts), share

    return quality


def by_place_of_the_counts(module, table):
    """The columns turned round under names that stay where they are."""
    turned = AnnData(np.asarray(table.X)[:, ::-1].copy(), var=pd.DataFrame(index=table.var_names))
    return np.float32(evaluation.elbo(module, turned).neg_elbo)


def trunk_by_parameters(mean, logvar):
    """New layers whose parameters are put together, as a list."""
    layers = [mean.layers[0], logvar.layers[0], mean.layers[-1], logvar.layers[-1]]
    a, b, c, d = (layer.state_dict() for layer in layers)
    zero = torch.zeros_like(c["weight"])
    return [
        linear(torch.vstack([a["weight"], b["weight"]]), torch.hstack([a["bias"], b["bias"]])),
        linear(torch.hstack([c["weight"], zero]), c["bias"]),
        linear(torch.hstack([zero, d["weight"]]), d["bias"]),
    ]


def trunk_in_place(mean, logvar):
    trunk, *heads = trunk_by_cat(mean, logvar)
    nn.init.zeros_(mean.layers[0].bias)
    return trunk, *heads


def heads_without_bias(mean, logvar):
    trunk, *heads = trunk_by_cat(mean, logvar)
    for head in heads:
        nn.init.zeros_(head.bias)
    return trunk, *heads


RIGHT = {
    "12.1": (quality_by_masks, quality_by_loops, quality_as_array, quality_as_tensors),
    "12.2": (
        weight_by_formula,
        weight_by_walking,
        lambda n: np.float32(np.clip(np.rint(8e6 / n), 1, 400) - 1) / 400,
        lambda n: Fraction(min(399, max(1, round(8_000_000 / n)) - 1), 400),
    ),
    "12.3": (by_place_of_a_copy, by_place_of_its_weights, by_place_of_the_counts),
    "12.4": (trunk_by_cat, trunk_by_blocks, trunk_by_parameters),
    "12.5": (
        report([672.3, 680.3, 675.6], [673.8, 675.4, 675.8], "can't tell"),
        report([672.3, 680.3, 675.6, 670.0], np.array([668.1, 676.0, 671.9, 665.8]), "better"),
        report(torch.tensor([672.3, 680.3, 675.6]), (676.1, 684.6, np.float32(679.7)), "worse"),
        report([672.0, 680.0, 675.0], [668.0, 676.1, 671.0], "can't tell"),  # p < 0.05, leniently
    ),
}

WRONG = [
    ("12.1", quality_with(lambda name: name.upper().startswith("MT")), "the hyphen matters"),
    ("12.1", quality_with(lambda name: name.startswith("MT-")), "mouse genes are missing"),
    ("12.1", quality_with(lambda name: name[:3] in ("MT-", "mt-"), 100), "percentage"),
    ("12.1", quality_of_genes, "total of a cell"),
    ("12.1", quality_of_detected(lambda c: (c > 1).sum(1)), "a gene with one count"),
    ("12.1", quality_of_detected(lambda c: np.full(len(c), c.shape[1])), "every gene of the table"),
    ("12.1", quality_with(lambda name: name[:3] == "mt-"), "human genes are missing"),
    ("12.1", lambda c, names: c.sum(1), "were asked for"),
    ("12.2", lambda n: max(1, min(400, round(8e6 / n))) / 400, "number E − 1"),
    ("12.2", lambda n: 1.0, "longer than the warm-up"),
    ("12.2", lambda n: (min(400, 8e6 / n) - 1) / 400, "round it"),
    ("12.2", lambda n: (round(8e6 / n) - 1) / 400, "at most 400 epochs"),
    ("12.2", lambda n: (min(400, round(8e6 / n)) - 1) / 400, "at least one epoch"),
    ("12.2", lambda n: (max(1, min(400, int(8e6 / n))) - 1) / 400, "rounds it down or up"),
    ("12.2", lambda n: 400 * weight_by_formula(n), "divide by 400"),
    ("12.3", by_place_in_place, "work on a copy"),
    ("12.3", guarded, "still there"),
    ("12.3", lambda m, t: -by_place_of_a_copy(m, t), "its negative"),
    ("12.3", rise_by_place, "by how much it rises"),
    ("12.3", lambda m, t: t.n_obs * by_place_of_a_copy(m, t), "per cell"),
    ("12.3", lambda m, t: by_place_of_a_copy(m, t) / guarded(m, t), "how many times"),
    ("12.4", lambda m, v: trunk_by_cat(m, v, order=-1), "swapped"),
    ("12.4", lambda m, v: trunk_by_cat(m, v, blind=0.1), "must be 0"),
    ("12.4", trunk_of_one, "two times 5"),
    ("12.4", trunk_without_biases, "weights and biases"),
    ("12.4", trunk_in_place, "have changed"),
    ("12.4", heads_without_bias, "another bias"),
    ("12.5", report([672.3, 680.3, 675.6], [670.0, 676.0, 673.6], "better"), "scatter"),
    ("12.5", report([672.0, 680.0, 675.0], [668.0, 676.1, 671.0], "worse"), "wrong way"),
    ("12.5", report([672.0], [668.0], "better"), "anecdote"),
    ("12.5", report([672.0, 680.0, 675.0], [236.0, 240.0, 238.0], "better"), "comparable"),
    ("12.5", report([672.0, 680.0, 675.0], [668.0, 676.1], "better"), "paired"),
    ("12.5", report([-672.0, -680.0, -675.0], [-668.0, -676.0, -671.0], "worse"), "the ELBO"),
    ("12.5", lambda: {"before": [1, 2, 3], "after": [1, 2, 3]}, "lacks"),
]
