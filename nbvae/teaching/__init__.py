"""What only the chapters of the book need: figures, the checks of exercises, a count of work."""

from nbvae.teaching import exercises, living, plotting
from nbvae.teaching.work import GAMMAS, LOGS, PRODUCTS, REST, Work

__all__ = ["GAMMAS", "LOGS", "PRODUCTS", "REST", "Work", "exercises", "living", "plotting"]
