# Installs nbvae, the package of this book, on Google Colab; elsewhere it does nothing.
import importlib.util
import sys

if "google.colab" in sys.modules and importlib.util.find_spec("nbvae") is None:
    import subprocess
    import time

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
    install = [*pip, "install", "-q", f"nbvae @ git+{address}", "-c", "/dev/stdin"]
    subprocess.run(install, check=True, input=brought.stdout)  # what Colab brings stays as it is
    importlib.invalidate_caches()
    if torch.cuda.is_available():
        where = f"Models train on its GPU, {torch.cuda.get_device_name()}."
    else:
        where = "PyTorch sees no GPU here, and no chapter needs one (to get one: Runtime, Change "
        where += "runtime type, and run this again): models train on the CPU."
    seconds = time.time() - begun
    print(f"Installed nbvae in {seconds:.0f} s; of Colab's packages none changed. {where}")
