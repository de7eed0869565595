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
    brought = subprocess.check_output([*pip, "list", "--format=freeze"])
    install = [*pip, "install", "-q", f"nbvae @ git+{address}"]
    keep = ["-c", "/dev/stdin"]  # what Colab brings stays as it is
    subprocess.run([*install, *keep], check=True, input=brought)
    importlib.invalidate_caches()
    if torch.cuda.is_available():
        where = f"Models train on its GPU, {torch.cuda.get_device_name()}."
    else:
        where = "PyTorch sees no GPU, and no chapter needs one: models train on "
        where += "the CPU. (For a GPU: Runtime, Change runtime type, run this.)"
    seconds = time.time() - begun
    print(f"Installed nbvae in {seconds:.0f} s and changed nothing else. {where}")
