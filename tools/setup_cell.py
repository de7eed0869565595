# Installs nbvae, the package of this book, on Google Colab; elsewhere it does nothing.
import importlib.util
import sys

if "google.colab" in sys.modules and importlib.util.find_spec("nbvae") is None:
    import subprocess
    from importlib.metadata import version

    address = ""
    if not address:
        raise RuntimeError(
            "This copy of the book names no public repository to install nbvae from. "
            "Set repository.url in _config.yml and run `make outputs`; or upload the "
            "project's folder, run `%pip install <folder>`, and then this cell again."
        )
    # Colab's own builds stay
    keep = [f"{name}=={version(name)}" for name in ("torch", "numpy")]
    pip = [sys.executable, "-m", "pip", "install", "-q"]
    subprocess.run([*pip, f"nbvae @ git+{address}", *keep], check=True)
    importlib.invalidate_caches()
