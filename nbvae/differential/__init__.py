"""Differential expression: which genes differ between two groups of cells."""

from nbvae.differential.prior import expected_fdr
from nbvae.differential.table import differential_expression

__all__ = ["differential_expression", "expected_fdr"]
