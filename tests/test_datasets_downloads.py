"""The downloads, against a server on this machine: what arrives, and what may go wrong."""

import errno
import gc
import hashlib
import http.server
import io
import os
import subprocess
import sys
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pooch
import pytest
from anndata import AnnData
from scipy import io as scipy_io
from scipy import sparse

from nbvae.data import datasets, downloads
from nbvae.data.counts import CountsError
from nbvae.data.downloads import Remote
from nbvae.data.tenx import read_10x_archive

CELLS = [f"{a}{b}{c}CATG-1" for a in "ACGT" for b in "ACGT" for c in "ACGT"]
GENES = 300
VARIABLE = np.arange(20, 300, 40)  # seven genes that half of the cells express strongly


def tiny_counts():
    """64 cells × 300 genes of about the same mean; gene 0 occurs nowhere, gene 1 more often."""
    mean = np.full((len(CELLS), GENES), 3.0)
    mean[:, VARIABLE] = np.where(np.arange(len(CELLS)) % 2, 5.0, 1.0)[:, None]
    mean[:, [0, 1]] = 0, 2000  # scanpy ranks within bins of the mean: one bin for all but gene 1
    return sparse.csr_matrix(np.random.default_rng(0).poisson(mean))


def tiny_h5ad(counts=None):
    file = io.BytesIO()
    adata = AnnData(
        X=(tiny_counts() if counts is None else counts).astype(np.float32),
        obs=pd.DataFrame(index=CELLS),
        var=pd.DataFrame(index=[f"GENE{i}" for i in range(GENES)]),
    )
    with h5py.File(file, "w") as h5:
        anndata.io.write_elem(h5, "/", adata)
    return file.getvalue()


def tiny_10x_archive():
    """What 10x Genomics' tar.gz holds: genes × cells, with two genes of the same symbol."""
    matrix = io.BytesIO()
    scipy_io.mmwrite(matrix, tiny_counts().T.tocoo(), field="integer")
    symbols = [f"GENE{i}" for i in range(GENES - 1)] + ["GENE298"]
    files = {
        "matrix.mtx": matrix.getvalue(),
        "genes.tsv": "".join(f"ENSG{i:05}\t{s}\n" for i, s in enumerate(symbols)).encode(),
        "barcodes.tsv": "".join(f"{cell}\n" for cell in CELLS).encode(),
    }
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"filtered_matrices_mex/hg19/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return archive.getvalue()


def tiny_labels(cells=CELLS):
    """The annotation of 10x Genomics' paper, in another order than the matrix."""
    rows = [f"0.5\t-1.5\t{cell}\ttype {cell[0]}\n" for cell in reversed(cells)]
    return ("TSNE.1\tTSNE.2\tbarcodes\tcelltype\n" + "".join(rows)).encode()


FILES = {
    "pbmc3k": ("pbmc3k_raw.h5ad", tiny_h5ad),
    "pbmc68k": ("filtered_gene_bc_matrices.tar.gz", tiny_10x_archive),
    "pbmc68k_labels": ("annotation.tsv", tiny_labels),
}


class Handler(http.server.BaseHTTPRequestHandler):
    """Sends the files; the first ``server.cuts`` answers stop after 1,000 bytes."""

    def do_GET(self):
        self.server.requests.append(self.path)
        self.server.gate.wait(timeout=30)
        content = self.server.files.get(self.path)
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        cut = len(self.server.requests) <= self.server.cuts
        self.wfile.write((content or b"")[: 1000 if cut else None])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path):
    """The three files on 127.0.0.1, an empty cache, and a list of the requests."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.requests, server.files, server.cuts, server.waits = [], {}, 0, []
    server.gate = threading.Barrier(1)  # answers when so many requests are there
    server.cache = tmp_path / "cache"
    monkeypatch.setenv("NBVAE_CACHE", str(server.cache))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(pooch.core.time, "sleep", server.waits.append)

    def publish(name, content):
        path = f"/{FILES[name][0]}"
        url = f"http://127.0.0.1:{server.server_port}{path}"
        server.files[path] = content
        monkeypatch.setitem(
            downloads.REMOTES, name, Remote(url, hashlib.sha256(content).hexdigest())
        )

    server.publish = publish
    for name, (_, make) in FILES.items():
        publish(name, make())
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def cached(server):
    return sorted(path.name for path in server.cache.glob("*"))


# ---------------------------------------------------------------- what arrives


def test_pbmc3k_has_the_counts_that_were_sent(server):
    """Else cells, genes or counts would change between the server and the model."""
    adata = datasets.pbmc3k(n_genes=None)
    np.testing.assert_array_equal(adata.X.toarray(), tiny_counts().toarray()[:, 1:])
    assert adata.X.dtype == np.float32
    assert list(adata.obs_names) == CELLS
    assert list(adata.var_names) == [f"GENE{i}" for i in range(1, GENES)]
    assert downloads.REMOTES["pbmc3k"].url in adata.uns["source"]
    assert adata.uns["licence"] == "CC BY 4.0, 10x Genomics"


def test_pbmc68k_has_counts_and_labels_of_the_same_cells(server):
    """Else the labels, which come in another file and order, would go to other cells."""
    adata = datasets.pbmc68k(n_genes=None)
    np.testing.assert_array_equal(adata.X.toarray(), tiny_counts().toarray()[:, 1:])
    assert list(adata.obs["cell_type"]) == [f"type {cell[0]}" for cell in CELLS]
    assert adata.obs["cell_type"].dtype == "category"
    assert list(adata.var_names[-2:]) == ["GENE298", "GENE298-1"]  # the twins stay apart
    assert "Zheng et al. 2017" in adata.uns["source"]


@pytest.mark.parametrize("load", [datasets.pbmc3k, datasets.pbmc68k])
def test_n_genes_keeps_the_most_variable_in_their_order(server, load):
    """Else other genes than the most variable would be modelled, or counts would move."""
    few = load(n_genes=len(VARIABLE))
    assert list(few.var_names) == [f"GENE{i}" for i in VARIABLE]
    np.testing.assert_array_equal(few.X.toarray(), tiny_counts().toarray()[:, VARIABLE])


def test_n_genes_is_exact(server):
    """Else genes that vary equally would come in on top of the number asked for."""
    flat = tiny_counts().toarray()
    flat[:, 1:] = 1 + flat[:, 1:2]  # all genes are the same, so all are tied
    server.publish("pbmc3k", tiny_h5ad(sparse.csr_matrix(flat)))
    assert datasets.pbmc3k(n_genes=50).n_vars == 50


def test_cells_without_counts_in_the_kept_genes_go(server):
    """Else choosing genes would leave empty cells, which training refuses."""
    counts = tiny_counts().toarray()
    counts[3, VARIABLE] = 0
    server.publish("pbmc3k", tiny_h5ad(sparse.csr_matrix(counts)))
    adata = datasets.pbmc3k(n_genes=len(VARIABLE))
    assert list(adata.obs_names) == CELLS[:3] + CELLS[4:]


def test_more_genes_than_there_are(server):
    """Else the default of 2,000 would fail on a small data set."""
    assert datasets.pbmc3k().n_vars == GENES - 1


@pytest.mark.parametrize(("load", "requests"), [(datasets.pbmc3k, 1), (datasets.pbmc68k, 2)])
def test_the_second_call_asks_nobody(server, load, requests):
    """Else every run of a chapter would download the data again."""
    first = load()
    assert len(server.requests) == requests
    server.files.clear()
    second = load()
    assert len(server.requests) == requests
    np.testing.assert_array_equal(first.X.toarray(), second.X.toarray())


def test_nothing_but_the_downloads_stays_in_the_cache(server):
    """Else half a gigabyte of text would lie beside the archive, or half of that after Ctrl-C."""
    datasets.pbmc3k()
    datasets.pbmc68k()
    assert cached(server) == sorted(file for file, _ in FILES.values())


def test_the_cache_is_the_users_unless_named(server, monkeypatch, tmp_path):
    """Else the files would lie where nobody looks for them, or in the current folder."""
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "home" / project)
    monkeypatch.delenv("NBVAE_CACHE")
    path = downloads.download("pbmc68k_labels")
    assert path == tmp_path / "home" / "nbvae" / "annotation.tsv"
    assert path.read_bytes() == tiny_labels()


def test_labels_of_other_cells_are_refused(server):
    """Else cells without a label would pass silently."""
    server.publish("pbmc68k_labels", tiny_labels(CELLS[:-1]))
    with pytest.raises(CountsError, match="do not belong together"):
        datasets.pbmc68k()


# ---------------------------------------------------------------- what may go wrong


def assert_tells_what_to_do(error, server, way_out):
    assert downloads.REMOTES["pbmc3k"].url in str(error.value)
    assert str(server.cache) in str(error.value)
    assert way_out in str(error.value)
    assert "pbmc68k_sample() needs no download" in str(error.value)


def test_a_wrong_checksum_is_refused_and_leaves_nothing(server):
    """Else a damaged or replaced file would be read, now or on the next call."""
    path = f"/{FILES['pbmc3k'][0]}"
    server.files[path] = server.files[path][:-1] + b"?"
    for _ in range(2):
        with pytest.raises(ValueError, match="does not match the known hash") as caught:
            datasets.pbmc3k()
        assert str(caught.value).startswith(downloads.REMOTES["pbmc3k"].url)
        assert hashlib.sha256(server.files[path]).hexdigest() in str(caught.value)
        assert "pbmc68k_sample() needs no download" in str(caught.value)
        assert cached(server) == []


def test_a_damaged_file_in_the_cache_is_fetched_again(server):
    """Else a file that was damaged on disk would be read."""
    datasets.pbmc3k()
    (server.cache / FILES["pbmc3k"][0]).write_bytes(b"damaged")
    assert datasets.pbmc3k().n_obs == 64
    assert len(server.requests) == 2


def test_no_server(server, monkeypatch):
    """Else someone without a connection would meet fifty lines of urllib3."""
    gone = downloads.REMOTES["pbmc3k"]._replace(url="http://127.0.0.1:1/pbmc3k_raw.h5ad")
    monkeypatch.setitem(downloads.REMOTES, "pbmc3k", gone)
    with pytest.raises(OSError, match="Could not download") as caught:
        datasets.pbmc3k()
    assert_tells_what_to_do(caught, server, "Try again with a connection to the internet")
    assert sum(server.waits) < 5  # seconds
    assert cached(server) == []


def test_no_such_page(server):
    """Else a page that has moved would be saved as data."""
    server.files.clear()
    with pytest.raises(OSError, match="404") as caught:
        datasets.pbmc3k()
    assert_tells_what_to_do(caught, server, "Try again with a connection to the internet")
    assert cached(server) == []


def collected(test):
    """Pooch leaves a broken connection open: its warning belongs to this test, not to the next."""
    return pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")(test)


@collected
@pytest.mark.parametrize("cuts", [1, 2])
def test_a_connection_that_breaks_once_or_twice(server, cuts):
    """Else 124 MB would have to be asked for again by hand."""
    server.cuts = cuts
    adata = datasets.pbmc3k(n_genes=None)
    np.testing.assert_array_equal(adata.X.toarray(), tiny_counts().toarray()[:, 1:])
    assert len(server.requests) == cuts + 1
    assert cached(server) == [FILES["pbmc3k"][0]]
    gc.collect()


@collected
def test_a_connection_that_always_breaks(server):
    """Else half a file would stay in the cache, or the tries would never end."""
    server.cuts = 99
    with pytest.raises(OSError, match="Could not download") as caught:
        datasets.pbmc3k()
    assert_tells_what_to_do(caught, server, "Try again with a connection to the internet")
    assert cached(server) == []
    assert len(server.requests) == 3
    del caught
    gc.collect()


def test_a_full_disk(server, monkeypatch):
    """Else half a file would stay, or the user would look for the fault in the connection."""

    def full(self, url, output_file, *_, **__):
        with open(output_file, "wb") as file:
            file.write(b"half of it")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(pooch.HTTPDownloader, "__call__", full)
        with pytest.raises(OSError, match="No space left") as caught:
            datasets.pbmc3k()
    assert_tells_what_to_do(caught, server, "Set NBVAE_CACHE to a folder with free space")
    assert cached(server) == []
    assert datasets.pbmc3k().n_obs == 64


@pytest.fixture(params=[errno.EROFS, errno.EACCES], ids=["read-only disk", "no right to write"])
def read_only(monkeypatch, request):
    """From its call on, nothing can be written: as on a read-only disk, also for root."""

    def forbidden(*_, **__):
        raise OSError(request.param, os.strerror(request.param))

    def start():
        for name in ("NamedTemporaryFile", "mkstemp", "mkdtemp", "TemporaryDirectory"):
            monkeypatch.setattr(f"tempfile.{name}", forbidden)
        for name in ("mkdir", "makedirs", "rename", "replace"):
            monkeypatch.setattr(f"os.{name}", forbidden)

    return start


@pytest.mark.parametrize("load", [datasets.pbmc3k, datasets.pbmc68k])
def test_a_read_only_cache_that_holds_the_file(server, read_only, load):
    """Else a cache that a teacher filled for the whole class could not be used."""
    first = load()
    read_only()
    server.files.clear()
    np.testing.assert_array_equal(load().X.toarray(), first.X.toarray())


@pytest.mark.parametrize("exists", [True, False])
def test_a_read_only_cache_without_the_file(server, read_only, exists):
    """Else the user would look for the fault in the connection."""
    if exists:
        server.cache.mkdir()
    read_only()
    with pytest.raises(OSError, match=r"Read-only file system|Permission denied") as caught:
        datasets.pbmc3k()
    assert_tells_what_to_do(caught, server, "to a folder with free space that you may write to")
    assert server.requests == []


def test_a_file_in_the_place_of_the_cache(server):
    """Else a slip in NBVAE_CACHE would be blamed on the connection."""
    server.cache.write_text("a file")
    with pytest.raises(OSError, match="Could not download") as caught:
        datasets.pbmc3k()
    assert_tells_what_to_do(caught, server, "Set NBVAE_CACHE to a folder")


def test_two_processes_at_once(server):
    """Else one would read what the other has half written, or fail on what it finds."""
    server.gate = threading.Barrier(2)  # nobody is answered before both have asked
    code = (
        "import downloads\n"
        f"remote = downloads.Remote(*{tuple(downloads.REMOTES['pbmc68k'])!r})\n"
        "downloads.REMOTES['pbmc68k'] = remote\n"
        "print(len(downloads.download('pbmc68k').read_bytes()))"
    )
    alone = Path(downloads.__file__).parent  # importing all of the package would take seconds
    processes = [
        subprocess.Popen([sys.executable, "-c", code], cwd=alone, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in processes:
        assert process.communicate(timeout=60)[0] == f"{len(tiny_10x_archive())}\n"
        assert process.returncode == 0
    assert len(server.requests) == 2
    assert cached(server) == [FILES["pbmc68k"][0]]


def test_two_at_once_read_the_archive(server):
    """Else two that unpack at the same time would meet in one folder."""
    expected = datasets.pbmc68k().X.toarray()
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(read_10x_archive, [server.cache / FILES["pbmc68k"][0]] * 2))
    for adata in both:
        np.testing.assert_array_equal(adata.X.toarray()[:, 1:], expected)
    assert cached(server) == sorted(FILES[name][0] for name in ("pbmc68k", "pbmc68k_labels"))


def test_the_real_addresses_are_encrypted_and_complete():
    """Else a download would be open to change on the way, or could not be verified."""
    for remote in downloads.REMOTES.values():
        assert remote.url.startswith("https://")
        assert len(bytes.fromhex(remote.sha256)) == 32
