"""Figures that a reader can move: in the page without a kernel, in a notebook with one."""

from nbvae.teaching.living.figure import LivingFigure, script, style
from nbvae.teaching.living.inference import gradient_race, q_by_hand

__all__ = ["LivingFigure", "gradient_race", "q_by_hand", "script", "style"]
