"""A module whose every number is known, written by hand, and its world of sixty cells."""

import math

import numpy as np
import torch

from nbvae import NBVAE, Covariates

BIAS = np.array([0.0, 0.0, 2.0, 1.0, -1.0])  # of the logits, five genes
SLOPE = np.array([0.0, 0.0, 0.5, -0.3, 0.0])  # of the logits in z


def shares_at(z):
    """ρ of the module below, by numpy. z: (n,). Returns (n, 5)."""
    logits = BIAS + np.multiply.outer(z, SLOPE)
    return np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)


@torch.no_grad()
def by_hand(sd, **arguments):
    """A module with q = N(1, sd²) for the first group and N(−1, sd²) for the second."""
    module = NBVAE(5, 1, n_hidden=3, **arguments)
    for weights in module.parameters():
        weights.zero_()
    to_hidden, _, to_mean = module.mean_encoder.layers
    to_hidden.weight[0, 0] = to_hidden.weight[1, 1] = 1 / math.log(11)  # 1 for ten counts
    to_mean.weight[:] = torch.tensor([[1.0, -1.0, 0.0]])
    module.logvar_encoder.layers[2].bias.fill_(2 * math.log(sd))
    to_hidden, _, to_logits = module.decoder.layers
    to_hidden.weight[:, 0] = torch.tensor([1.0, -1.0, 0.0])  # relu(z) and relu(−z)
    to_logits.weight[:, 0] = torch.from_numpy(SLOPE)
    to_logits.weight[:, 1] = torch.from_numpy(-SLOPE)
    to_logits.bias[:] = torch.from_numpy(BIAS)
    return module


def masks(adata):
    first = (adata.obs["side"] == "one").to_numpy()
    return first, ~first


@torch.no_grad()
def with_donors(adata, sd=0.1):
    """The module by hand, with gene E twenty times as frequent in donor q."""
    module = by_hand(sd, covariates=Covariates.of(adata, "donor"))
    module.decoder.layers[0].weight[2, 2] = 1  # the third hidden unit says: donor q
    module.decoder.layers[2].weight[4, 2] = math.log(20)
    return module
