"""The sample, counts from files, and the downloads, against a server on this machine."""

import gc
import hashlib
import http.server
import io
import shutil
import tarfile
import threading
import warnings

import anndata
import h5py
import numpy as np
import pandas as pd
import pooch
import pytest
import scanpy as sc
from anndata import AnnData
from scipy import io as scipy_io
from scipy import sparse

from nbvae import datasets
from nbvae.counts import CountsError
from nbvae.datasets import Remote, read_counts

# ---------------------------------------------------------------- the sample


@pytest.fixture(scope="module")
def packaged():
    """The file inside scanpy that the sample is made from."""
    with warnings.catch_warnings():  # it is older than the format that anndata now writes
        warnings.simplefilter("ignore")
        return sc.datasets.pbmc68k_reduced()


def test_sample_has_the_known_size_and_totals(sample):
    """Else the numbers that the book states about the sample are wrong."""
    counts = sample.X.toarray()
    assert counts.shape == (700, 765)
    assert ((counts >= 0) & (counts == np.rint(counts))).all()
    assert (counts == 0).mean() == pytest.approx(0.67, abs=0.005)
    assert counts.sum(axis=1).min() == 342
    assert np.median(counts.sum(axis=1)) == 653


def test_sample_has_ten_cell_types(sample):
    """Else labels were lost or shifted against the cells."""
    assert sample.obs["cell_type"].value_counts().to_dict() == {
        "Dendritic": 240,
        "CD14+ Monocyte": 129,
        "CD19+ B": 95,
        "CD4+/CD25 T Reg": 68,
        "CD8+ Cytotoxic T": 54,
        "CD8+/CD45RA+ Naive Cytotoxic": 43,
        "CD56+ NK": 31,
        "CD4+/CD45RO+ Memory": 19,
        "CD34+": 13,
        "CD4+/CD45RA+/CD25- Naive T": 8,
    }


def test_sample_gives_back_scanpys_values(sample, packaged):
    """Else the recovered numbers are integers, but not the counts that were measured."""
    totals = packaged.obs["n_counts"].to_numpy()[:, None]
    forward = np.log1p(1e4 * sample.X.toarray().astype(np.float64) / totals)
    assert np.abs(forward - packaged.raw.X.toarray()).max() < 1e-3
    assert list(sample.obs_names) == list(packaged.obs_names)
    assert list(sample.var_names) == list(packaged.raw.var_names)
    assert (sample.obs["cell_type"] == packaged.obs["bulk_labels"]).all()


def test_sample_carries_known_biology(sample):
    """Else genes and cells are shifted against each other: B cells express CD79A, monocytes LYZ."""
    shares = sample.to_df().div(sample.X.sum(axis=1).A1, axis=0)
    by_type = shares.groupby(sample.obs["cell_type"], observed=True).mean()
    assert by_type["CD79A"].idxmax() == "CD19+ B"
    assert by_type["NKG7"].idxmax() == "CD56+ NK"
    assert by_type["LYZ"].idxmax() in ("CD14+ Monocyte", "Dendritic")


def test_sample_names_its_source_and_licence(sample):
    """Else the data would be passed on without what its licence asks for."""
    assert "Zheng et al. 2017" in sample.uns["source"]
    assert sample.uns["licence"] == "CC BY 4.0, 10x Genomics"


def test_each_sample_is_a_new_one():
    """Else a chapter that filters its cells would change those of the next call."""
    datasets.pbmc68k_sample().X.data[:] = 0
    assert datasets.pbmc68k_sample().X.data.min() == 1


def test_another_packaged_file_is_noticed(packaged, monkeypatch):
    """Else a new scanpy with other values would silently give rounded nonsense."""
    changed = packaged.copy()
    changed.obs["n_counts"] = changed.obs["n_counts"] * 1.01
    monkeypatch.setattr(sc.datasets, "pbmc68k_reduced", lambda: changed)
    with pytest.raises(CountsError, match=r"another file.*requirements\.txt"):
        datasets.pbmc68k_sample()


# ---------------------------------------------------------------- counts of one's own


def test_read_counts_from_a_file(small, tmp_path):
    """Else counts or annotation would change on the way through a file."""
    small.write_h5ad(tmp_path / "small.h5ad")
    for path in (tmp_path / "small.h5ad", str(tmp_path / "small.h5ad")):
        adata = read_counts(path)
        np.testing.assert_array_equal(adata.X.toarray(), small.X.toarray())
        assert list(adata.obs["group"]) == list(small.obs["group"])
        assert list(adata.var_names) == list(small.var_names)


def test_read_counts_leaves_its_input_alone(small):
    """Else changing the result would change the user's own object."""
    before = small.copy()
    small.obsm["X_pca"] = np.zeros((53, 2))
    adata = read_counts(small)
    adata.X.data[:] = 0
    adata.obs["new"], adata.uns["new"], adata.obsm["new"] = 1, 1, np.zeros((53, 1))
    np.testing.assert_array_equal(small.X.toarray(), before.X.toarray())
    assert list(small.obs) == ["group"]
    assert not small.uns
    assert list(small.obsm) == ["X_pca"]


def test_read_counts_from_a_layer(small):
    """Else X would be read although the counts are in a layer."""
    small.layers["counts"] = small.X.copy()
    small.X = small.X * 0.5
    adata = read_counts(small, layer="counts")
    np.testing.assert_array_equal(adata.X.toarray(), small.layers["counts"].toarray())


def test_read_counts_checks(small):
    """Else a file of normalised values would be taken for counts."""
    small.X = small.X * 0.5
    with pytest.raises(CountsError, match="cell 'cell-0'"):
        read_counts(small)


def test_a_missing_file_is_named(tmp_path):
    """Else the message would be one of the HDF5 library's."""
    with pytest.raises(FileNotFoundError, match=r"no file .*nowhere\.h5ad"):
        read_counts(tmp_path / "nowhere.h5ad")


# ---------------------------------------------------------------- downloads

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
    def do_GET(self):
        self.server.requests.append(self.path)
        content = self.server.files.get(self.path)
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write((content or b"")[: self.server.cut_after])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path):
    """The three files on 127.0.0.1, an empty cache, and a list of the requests."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.requests, server.files, server.cut_after = [], {}, None
    server.cache = tmp_path / "cache"
    monkeypatch.setattr(pooch, "os_cache", lambda project: server.cache / project)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    def publish(name, content):
        path = f"/{FILES[name][0]}"
        url = f"http://127.0.0.1:{server.server_port}{path}"
        server.files[path] = content
        monkeypatch.setitem(
            datasets.REMOTES, name, Remote(url, hashlib.sha256(content).hexdigest())
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
    return sorted(path.name for path in (server.cache / "nbvae").glob("*"))


def test_pbmc3k_has_the_counts_that_were_sent(server):
    """Else cells, genes or counts would change between the server and the model."""
    adata = datasets.pbmc3k(n_genes=None)
    np.testing.assert_array_equal(adata.X.toarray(), tiny_counts().toarray()[:, 1:])
    assert adata.X.dtype == np.float32
    assert list(adata.obs_names) == CELLS
    assert list(adata.var_names) == [f"GENE{i}" for i in range(1, GENES)]
    assert datasets.REMOTES["pbmc3k"].url in adata.uns["source"]
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


def test_a_wrong_checksum_is_refused_and_leaves_nothing(server):
    """Else a damaged or replaced file would be read, now or on the next call."""
    path = f"/{FILES['pbmc3k'][0]}"
    server.files[path] = server.files[path][:-1] + b"?"
    for _ in range(2):
        with pytest.raises(ValueError, match="does not match the known hash"):
            datasets.pbmc3k()
        assert cached(server) == []


def test_a_damaged_file_in_the_cache_is_fetched_again(server):
    """Else a file that was damaged on disk would be read."""
    datasets.pbmc3k()
    (server.cache / "nbvae" / FILES["pbmc3k"][0]).write_bytes(b"damaged")
    assert datasets.pbmc3k().n_obs == 64
    assert len(server.requests) == 2


def assert_tells_what_to_do(error, server, name):
    assert datasets.REMOTES[name].url in str(error.value)
    assert str(server.cache / "nbvae") in str(error.value)
    assert "pbmc68k_sample() needs no download" in str(error.value)
    assert cached(server) == []


def test_no_server(server, monkeypatch):
    """Else someone without a connection would meet fifty lines of urllib3."""
    gone = datasets.REMOTES["pbmc3k"]._replace(url="http://127.0.0.1:1/pbmc3k_raw.h5ad")
    monkeypatch.setitem(datasets.REMOTES, "pbmc3k", gone)
    with pytest.raises(OSError, match="Could not download") as caught:
        datasets.pbmc3k()
    assert_tells_what_to_do(caught, server, "pbmc3k")


def test_no_such_page(server):
    """Else a page that has moved would be saved as data."""
    server.files.clear()
    with pytest.raises(OSError, match="404") as caught:
        datasets.pbmc68k()
    assert_tells_what_to_do(caught, server, "pbmc68k")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_connection_that_breaks(server):
    """Else half a file would stay in the cache."""
    server.cut_after = 1000
    with pytest.raises(OSError, match="Could not download") as caught:
        datasets.pbmc3k()
    assert_tells_what_to_do(caught, server, "pbmc3k")
    del caught
    gc.collect()  # pooch leaves the broken connection open: its warning belongs to this test
    server.cut_after = None
    assert datasets.pbmc3k().n_obs == 64


def test_interrupted_unpacking_is_repaired(server):
    """Else a Ctrl-C while the archive unpacks would leave half a matrix for ever."""
    expected = datasets.pbmc68k()
    folder = server.cache / "nbvae" / FILES["pbmc68k"][0].removesuffix(".tar.gz")
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(folder)
    half = part / "filtered_matrices_mex" / "hg19"
    half.mkdir(parents=True)
    (half / "matrix.mtx").write_text("%%MatrixMarket matrix coordinate integer general\n300 64 9\n")
    np.testing.assert_array_equal(datasets.pbmc68k().X.toarray(), expected.X.toarray())
    assert not part.exists()


def test_unpacking_that_fails_leaves_no_folder(server, monkeypatch):
    """Else a full disk would leave a folder that the next call takes for complete."""

    def full(self, path, **_):
        path.mkdir()
        raise OSError("No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(tarfile.TarFile, "extractall", full)
        with pytest.raises(OSError, match="No space left"):
            datasets.pbmc68k()
    assert datasets.pbmc68k().n_obs == 64


def test_labels_of_other_cells_are_refused(server):
    """Else cells without a label would pass silently."""
    server.publish("pbmc68k_labels", tiny_labels(CELLS[:-1]))
    with pytest.raises(CountsError, match="do not belong together"):
        datasets.pbmc68k()


def test_the_real_addresses_are_encrypted_and_complete():
    """Else a download would be open to change on the way, or could not be verified."""
    for remote in datasets.REMOTES.values():
        assert remote.url.startswith("https://")
        assert len(bytes.fromhex(remote.sha256)) == 32
