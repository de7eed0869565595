"""Files from the internet: fetched once into a cache, proved by their checksums."""

from pathlib import Path
from typing import NamedTuple

import pooch
from requests import RequestException

RETRIES = 2  # after a connection that fails or a file that arrives damaged; pooch waits 1 s, 2 s
CACHE_VARIABLE = "NBVAE_CACHE"  # the environment variable that puts the cache elsewhere


class Remote(NamedTuple):
    """A file to download, and the checksum that proves it is the right one."""

    url: str
    sha256: str


REMOTES = {
    "pbmc3k": Remote(
        "https://exampledata.scverse.org/scanpy/pbmc3k_raw.h5ad",
        "89a96f1beaa2dd83a687666d3f19a4513ac27a2a2d12581fcd77afed7ea653a1",
    ),
    "pbmc68k": Remote(
        "https://cf.10xgenomics.com/samples/cell-exp/1.1.0/fresh_68k_pbmc_donor_a/"
        "fresh_68k_pbmc_donor_a_filtered_gene_bc_matrices.tar.gz",
        "3f35f37ff344bc9b32f97cd003ac986ebb9b5d7f31006c53dff4cb38da267931",
    ),
    "pbmc68k_labels": Remote(
        "https://raw.githubusercontent.com/10XGenomics/single-cell-3prime-paper/master/"
        "pbmc68k_analysis/68k_pbmc_barcodes_annotation.tsv",
        "98dc85c047b56cb209ece200b7bebeb2ad53634ff3d5f42143987f59510624b3",
    ),
}


def download(name: str) -> Path:
    """Fetch one of ``REMOTES`` into the cache, or find it there; the checksum decides.

    A file appears in the cache only when it is complete, so several processes may ask at once.
    The cache is the user's (``pooch.os_cache``), or the folder in the variable ``NBVAE_CACHE``;
    a file that is there already is only read.

    Raises:
        OSError: no connection, no such page, no space, no right to write.
        ValueError: what came is another file.

    """
    remote = REMOTES[name]
    cache = _cache_of(remote)
    try:
        return Path(cache.fetch(_file_name(remote), progressbar=True))
    except OSError as error:
        raise OSError(
            f"Could not download {remote.url} into {str(cache.abspath)!r}: {error}. "
            f"{_way_out(error)}; datasets.pbmc68k_sample() needs no download."
        ) from error
    except ValueError as error:  # pooch has deleted the file and says both checksums
        raise ValueError(
            f"{remote.url} is not the file that this version of nbvae knows: {error} Try again, "
            "or install a newer nbvae; datasets.pbmc68k_sample() needs no download."
        ) from error


def _cache_of(remote: Remote) -> pooch.Pooch:
    file = _file_name(remote)
    return pooch.create(
        path=pooch.os_cache("nbvae"),
        env=CACHE_VARIABLE,
        base_url="",
        urls={file: remote.url},
        registry={file: f"sha256:{remote.sha256}"},
        retry_if_failed=RETRIES,
    )


def _file_name(remote: Remote) -> str:
    return Path(remote.url).name


def _way_out(error: OSError) -> str:
    """Tell a connection at fault from a disk at fault: requests' errors are OSErrors as well."""
    if isinstance(error, RequestException):
        return "Try again with a connection to the internet"
    return f"Set {CACHE_VARIABLE} to a folder with free space that you may write to"
