"""Where the time of a training run goes, by kind of operator, as PyTorch's profiler sees it."""

from torch.profiler import ProfilerActivity, profile

from benchmarks import data
from benchmarks.rivals import rival
from benchmarks.task import Task
from benchmarks.watch import Watch

EPOCHS = 4
# what little else calls; its multiplications can't be told from others, and Lightning runs the
# whole step inside the optimizer's, so that its total can't be taken either
ADAM = ("_fused_adam", "aten::lerp_", "aten::addcdiv_", "aten::sqrt", "aten::_foreach")


def shares(spec: dict) -> dict[str, float]:
    """Profile some epochs of a rival. Returns the share of each kind; they add up to 1."""
    task = Task(data.load(spec["data"]), Watch(), spec["seed"], EPOCHS, spec["device"])
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        rival(spec["rival"])(task)
    events = profiler.key_averages()

    def own(parts: tuple[str, ...]) -> float:
        return sum(e.self_cpu_time_total for e in events if any(part in e.key for part in parts))

    found = {
        "log-gammas and digammas": own(("aten::lgamma", "aten::digamma")),
        "matrix products": own(("aten::mm", "aten::addmm", "aten::_embedding_bag")),
        "Adam, at least": own(ADAM),
    }
    total = sum(event.self_cpu_time_total for event in events)
    found["everything else"] = total - sum(found.values())
    return {kind: time / total for kind, time in found.items()}
