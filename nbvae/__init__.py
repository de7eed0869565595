"""A negative-binomial variational autoencoder for single-cell RNA-seq, taught line by line."""

from nbvae import datasets, evaluation
from nbvae.mlp import MLP
from nbvae.module import NBVAE
from nbvae.trainer import Trainer

__all__ = ["MLP", "NBVAE", "Trainer", "datasets", "evaluation"]
