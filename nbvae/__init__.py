"""A negative-binomial variational autoencoder for single-cell RNA-seq, taught line by line.

Everything that a user or a chapter needs stands here by name; ``nbvae.teaching`` has what only
the chapters need.
"""

from nbvae import evaluation, expression
from nbvae.conversion import from_scvi
from nbvae.data import datasets
from nbvae.data.counts import CountsError, count_matrix
from nbvae.data.covariates import Covariates
from nbvae.data.minibatches import CellTable, Minibatch, SparseBatch
from nbvae.data.order import block_shuffle
from nbvae.data.split import split_cells
from nbvae.data.store.cells import CellStore, open_store
from nbvae.data.store.write import write_store
from nbvae.files import CheckpointError
from nbvae.mapping import Mapped, map_query
from nbvae.module.distributions import nb_log_prob, nb_sample, poisson_log_prob, zinb_log_prob
from nbvae.module.fast import loss_of
from nbvae.module.kernels import log_counts_product, nb_reconstruction
from nbvae.module.library import ModelledLibrary
from nbvae.module.mlp import MLP
from nbvae.module.nbvae import NBVAE, kl_to_standard_normal, reparametrise
from nbvae.module.outputs import GenerativeOutput, InferenceOutput, LossOutput
from nbvae.new_levels import with_new_levels
from nbvae.threads import use_threads
from nbvae.train.divergence import TrainingDivergedError
from nbvae.train.ranks import RankError
from nbvae.train.settings import TrainerSettings
from nbvae.train.trainer import Trainer

__version__ = "0.1.0"

__all__ = [
    "MLP",
    "NBVAE",
    "CellStore",
    "CellTable",
    "CheckpointError",
    "CountsError",
    "Covariates",
    "GenerativeOutput",
    "InferenceOutput",
    "LossOutput",
    "Mapped",
    "Minibatch",
    "ModelledLibrary",
    "RankError",
    "SparseBatch",
    "Trainer",
    "TrainerSettings",
    "TrainingDivergedError",
    "__version__",
    "block_shuffle",
    "count_matrix",
    "datasets",
    "evaluation",
    "expression",
    "from_scvi",
    "kl_to_standard_normal",
    "log_counts_product",
    "loss_of",
    "map_query",
    "nb_log_prob",
    "nb_reconstruction",
    "nb_sample",
    "open_store",
    "poisson_log_prob",
    "reparametrise",
    "split_cells",
    "use_threads",
    "with_new_levels",
    "write_store",
    "zinb_log_prob",
]
