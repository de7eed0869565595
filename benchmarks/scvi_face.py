"""scvi-tools' module behind the face of an NBVAE, so that one code evaluates both.

``nbvae.evaluation`` asks a module for ``inference``, ``generative`` and ``forward``. Here the
networks of scvi-tools answer, with whatever normalisation layers they have; the formulas of the
ELBO are those of NBVAE. tests/parity shows that the result is scvi-tools' own.
"""

import torch
from scvi.module import VAE
from torch import Tensor, nn

from nbvae import NBVAE
from nbvae.likelihoods import LIKELIHOODS
from nbvae.module import GenerativeOutput, InferenceOutput


class ScviFace(nn.Module):
    """The three steps of NBVAE, computed by a VAE of scvi-tools with one batch.

    Args:
        vae: with ``gene_likelihood="nb"`` and ``dispersion="gene"``; shared, not copied.

    """

    batches = None
    likelihood = LIKELIHOODS["nb"]

    def __init__(self, vae: VAE) -> None:
        super().__init__()
        self.vae = vae

    def inference(
        self, x: Tensor, *, batch: None = None, noise: Tensor | None = None
    ) -> InferenceOutput:
        """As ``NBVAE.inference``."""
        q, z = self.vae.z_encoder(torch.log1p(x), _one_batch(x))
        if noise is not None:
            z = q.loc + q.scale * noise
        return InferenceOutput(q.loc, 2 * q.scale.log(), z)

    def generative(self, z: Tensor, library: Tensor, *, batch: None = None) -> GenerativeOutput:
        """As ``NBVAE.generative``."""
        decoder = self.vae.decoder
        logits = decoder.px_scale_decoder[0](decoder.px_decoder(z, _one_batch(z)))
        log_px_scale = torch.log_softmax(logits, dim=-1)
        return GenerativeOutput(log_px_scale, library.log() + log_px_scale, self.vae.px_r)

    loss = NBVAE.loss
    forward = NBVAE.forward


def _one_batch(rows: Tensor) -> Tensor:
    return torch.zeros(len(rows), 1, dtype=torch.long, device=rows.device)
