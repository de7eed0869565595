# Installs nbvae, the package of this book, on Google Colab; elsewhere it does nothing.
import importlib.util
import sys

if "google.colab" in sys.modules and importlib.util.find_spec("nbvae") is None:
    import subprocess
    import time
    from pathlib import Path

    import torch

    address = ""
    if not address:
        raise RuntimeError(
            "This copy of the book names no public repository to install nbvae from. "
            "Set repository.url in _config.yml and run `make outputs`; or upload the "
            "project's folder, run `%pip install <folder>`, and then this cell again."
        )
    begun = time.time()
    pip = [sys.executable, "-m", "pip"]
    brought = subprocess.run([*pip, "list", "--format=freeze"], check=True, stdout=subprocess.PIPE)
    keep = Path("/tmp/colab.txt")  # what Colab brings stays as it is: no restart
    keep.write_bytes(brought.stdout)
    subprocess.run([*pip, "install", "-q", "-c", keep, f"nbvae @ git+{address}"], check=True)
    importlib.invalidate_caches()
    gpu = torch.cuda.is_available()
    print(
        f"nbvae was installed in {time.time() - begun:.0f} s; of Colab's packages none changed.",
        f"Models train on its GPU, {torch.cuda.get_device_name()}." if gpu else "PyTorch sees no "
        "GPU here: models train on the CPU, in the minutes that each chapter names. For a GPU: "
        "Runtime, Change runtime type; then run this cell again.",
    )
