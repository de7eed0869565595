"""What only the chapters of the book need: figures, the checks of exercises, a count of work."""

from importlib.util import find_spec

if not find_spec("IPython"):
    raise ModuleNotFoundError(
        "nbvae.teaching needs IPython, which comes with: pip install 'nbvae[teaching]'",
        name="IPython",
    )

from nbvae.teaching import exercises, living, plotting
from nbvae.teaching.work import GAMMAS, LOGS, PRODUCTS, REST, Work

__all__ = ["GAMMAS", "LOGS", "PRODUCTS", "REST", "Work", "exercises", "living", "plotting"]
