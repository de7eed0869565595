"""scvi-tools as a rival: its model and its training, by their defaults."""

import scvi
from lightning.pytorch import Callback
from scvi.model import SCVI
from torch import nn

from benchmarks.scvi_face import ScviFace
from benchmarks.task import Fitted, Task
from benchmarks.watch import Watch


class Laps(Callback):
    """Tells the watch when Lightning has finished an epoch."""

    def __init__(self, watch: Watch, face: nn.Module) -> None:
        self.watch, self.face = watch, face

    def on_train_epoch_end(self, trainer: object, pl_module: object) -> None:
        """As Lightning calls it."""
        self.watch.lap(self.face)


def fit_scvi(task: Task, plan: dict[str, float | None]) -> Fitted:
    """Train scvi-tools' model by its defaults, but for the settings of the plan, if any."""
    scvi.settings.seed = task.seed
    task.watch.start()
    SCVI.setup_anndata(task.adata)
    model = SCVI(task.adata, n_hidden=128, n_layers=1, n_latent=10, gene_likelihood="nb")
    face = ScviFace(model.module)
    model.train(
        max_epochs=task.max_epochs,
        accelerator="gpu" if task.device == "cuda" else task.device,
        devices=1,
        batch_size=128,
        plan_kwargs=plan,
        enable_progress_bar=False,
        callbacks=[Laps(task.watch, face)],
    )
    task.watch.stop()
    return Fitted(face, len(task.watch.laps))
