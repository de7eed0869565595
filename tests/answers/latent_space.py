"""Answers to the exercises of nbvae/teaching/exercises/latent_space.py, right and wrong."""

import numpy as np


def purity_by_table(clusters, labels):
    table = np.array([[np.sum((clusters == c) & (labels == k)) for k in set(labels)]
                      for c in set(clusters)])  # fmt: skip
    return table.max(axis=1).sum() / table.sum()


def purity_by_loop(clusters, labels):
    right = 0
    for c in np.unique(clusters):
        inside = list(labels[clusters == c])
        right += max(inside.count(label) for label in inside)
    return right / len(labels)


def rotate_by_qr(z, rng):
    return z @ np.linalg.qr(rng.standard_normal((z.shape[1], z.shape[1])))[0]


def rotate_by_svd(z, rng):
    u, _, vt = np.linalg.svd(rng.standard_normal((z.shape[1], z.shape[1])))
    return z @ (u @ vt)


def agree_by_sklearn(z, labels, k):
    from sklearn.neighbors import NearestNeighbors

    nearest = NearestNeighbors(n_neighbors=k + 1).fit(z).kneighbors(z, return_distance=False)
    return np.mean(labels[nearest[:, 1:]] == labels[:, None])


def agree_by_loop(z, labels, k):
    shares = []
    for i in range(len(z)):
        distance = ((z - z[i]) ** 2).sum(axis=1)
        distance[i] = np.inf
        shares.append(np.mean(labels[np.argsort(distance)[:k]] == labels[i]))
    return np.mean(shares)


def purity_mean_of_means(clusters, labels):
    return np.mean([np.unique(labels[clusters == c], return_counts=True)[1].max()
                    / (clusters == c).sum() for c in np.unique(clusters)])  # fmt: skip


def agree_with_itself(z, labels, k):
    distances = np.linalg.norm(z[:, None] - z[None], axis=-1)
    return np.mean(labels[np.argsort(distances, axis=1)[:, :k]] == labels[:, None])


def agree_k_plus_one(z, labels, k):
    return agree_with_itself(z, labels, k + 1)


def islands(labels, rng):
    codes = {label: i for i, label in enumerate(sorted(set(labels)))}
    x = np.array([[10 * codes[label], 5 * (codes[label] % 2)] for label in labels])
    return x + 0.1 * rng.random(x.shape)


def islands_of_points(labels, rng):
    places = {label: (i % 3, i // 3) for i, label in enumerate(np.unique(labels))}
    return np.array([places[label] for label in labels]) + rng.normal(0, 1e-3, (len(labels), 2))


RIGHT = {
    "7.5": (islands, islands_of_points),
    "7.1": (purity_by_table, purity_by_loop),
    "7.2": (rotate_by_qr, rotate_by_svd),
    "7.3": (agree_by_sklearn, agree_by_loop),
    "7.4": (
        lambda a, s, b, t: float(((a - b) ** 2).sum() + (s**2).sum() + (t**2).sum()),
        lambda a, s, b, t: np.linalg.norm(np.concatenate([a - b, s, t])) ** 2,
    ),
}

WRONG = [
    ("7.5", lambda k, r: r.standard_normal((len(k), 2)), "have not been used"),
    ("7.5", lambda k, r: islands(k, r) + 0.8 * r.standard_normal((len(k), 2)), "scatter"),
    ("7.5", lambda k, r: islands(k, r)[:, 0], "shape"),
    ("7.5", lambda k, r: islands(np.where(k == "b", "a", k), r), "find every label"),
    ("7.1", purity_mean_of_means, "as much as a large one"),
    ("7.1", lambda c, k: 10 * purity_by_loop(c, k), "divide"),
    ("7.1", lambda c, k: purity_by_loop(k, c), "commonest label of each"),
    ("7.2", lambda z, r: z @ r.standard_normal((5, 5)), "not orthogonal"),
    ("7.2", lambda z, r: z, "nothing has turned"),
    ("7.2", lambda z, r: z[:, r.permutation(5)], "only swaps"),
    ("7.2", lambda z, r: 3 * rotate_by_qr(z, r), "one factor"),
    ("7.3", agree_with_itself, "its own neighbours"),
    ("7.3", agree_k_plus_one, "drop it"),
    ("7.4", lambda a, s, b, t: ((a - b) ** 2).sum(), "spreads are missing"),
    (
        "7.4",
        lambda a, s, b, t: ((a - b) ** 2).sum() + (s + t).sum(),
        "variances add",
    ),
    ("7.4", lambda a, s, b, t: (a - b) ** 2 + s**2 + t**2, "add them up"),
]
