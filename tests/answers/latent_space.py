"""Answers to the exercises of nbvae/teaching/exercises/latent_space.py, right and wrong."""

import numpy as np
import torch
from scipy import linalg, sparse


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


def turned_by_svd(z, target):
    u, _, vt = np.linalg.svd(z.T @ target)
    return z @ u @ vt


def turned_by_polar(z, target):
    return z @ linalg.polar(z.T @ target)[0]


def turned_by_torch(z, target):
    z, target = torch.tensor(z).float(), torch.tensor(target).float()
    u, _, v = torch.svd(z.T @ target)
    return z @ u @ v.T


def turned_without_mirror(z, target):
    u, _, vt = np.linalg.svd(z.T @ target)
    return z @ u @ np.diag([1, 1, 1, 1, np.linalg.det(u @ vt)]) @ vt


def turned_about_the_middle(z, target):
    return turned_by_svd(z - z.mean(0), target - target.mean(0)) + target.mean(0)


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


def purity_by_matrix(clusters, labels):
    codes = [np.unique(values, return_inverse=True)[1] for values in (clusters, labels)]
    table = sparse.coo_matrix((np.ones(len(labels)), codes)).toarray()
    return torch.tensor(table).max(dim=1).values.sum() / len(labels)


def agree_by_torch(z, labels, k):
    distances = torch.cdist(torch.tensor(z)[None], torch.tensor(z)[None])[0]
    nearest = distances.fill_diagonal_(torch.inf).topk(k, largest=False).indices.numpy()
    return torch.tensor(labels[nearest] == labels[:, None]).float().mean()


def agree_by_vote(z, labels, k):
    won = []
    for i in range(len(z)):
        order = np.argsort(((z - z[i]) ** 2).sum(axis=1))[1 : k + 1]
        names, votes = np.unique(labels[order], return_counts=True)
        won.append(names[votes.argmax()] == labels[i])
    return np.mean(won)


def on_a_line(labels, rng):
    codes = torch.tensor(np.unique(labels, return_inverse=True)[1], dtype=torch.float32)
    return torch.stack([100 * codes, torch.zeros(len(codes))], dim=1)


RIGHT = {
    "7.5": (islands, islands_of_points, on_a_line),
    "7.1": (
        purity_by_table,
        purity_by_loop,
        purity_by_matrix,
        lambda c, k: np.float32(purity_by_loop(c, k)),
    ),
    "7.2": (
        turned_by_svd,
        turned_by_polar,
        turned_by_torch,
        lambda z, t: z @ linalg.orthogonal_procrustes(z, t)[0],
    ),
    "7.3": (agree_by_sklearn, agree_by_loop, agree_by_torch),
    "7.4": (
        lambda a, s, b, t: float(((a - b) ** 2).sum() + (s**2).sum() + (t**2).sum()),
        lambda a, s, b, t: np.linalg.norm(np.concatenate([a - b, s, t])) ** 2,
        lambda a, s, b, t: np.array([(a - b) @ (a - b) + s @ s + t @ t], dtype=np.float32),
        lambda a, s, b, t: sum((x - y) ** 2 + u * u + v * v
                               for x, u, y, v in zip(a, s, b, t, strict=True)),
    ),
}  # fmt: skip

WRONG = [
    ("7.5", lambda k, r: r.standard_normal((len(k), 2)), "have not been used"),
    ("7.5", lambda k, r: islands(k, r) + 0.8 * r.standard_normal((len(k), 2)), "scatter"),
    ("7.5", lambda k, r: islands(k, r)[:, 0], "shape"),
    ("7.5", lambda k, r: islands(np.where(k < "d", "a", k), r), "find every label"),
    ("7.5", lambda k, r: islands(k, r) * np.nan, "not finite"),
    ("7.1", purity_mean_of_means, "as much as a large one"),
    ("7.1", lambda c, k: len(k) * purity_by_loop(c, k), "divide"),
    ("7.1", lambda c, k: purity_by_loop(k, c), "commonest label of each"),
    ("7.1", lambda c, k: 1 - purity_by_loop(c, k), "that are not of the commonest"),
    ("7.1", lambda c, k: len(k) * purity_by_loop(c, k) / 4, "number of clusters"),
    ("7.1", lambda c, k: np.unique(k, return_counts=True)[1].max() / len(k), "into each cluster"),
    ("7.2", lambda z, t: z, "nothing has turned"),
    ("7.2", lambda z, t: t, "this is the target"),
    ("7.2", lambda z, t: turned_by_svd(t, z), "turns the target"),
    ("7.2", lambda z, t: z @ linalg.orthogonal_procrustes(t, z)[0], "the wrong way"),
    ("7.2", lambda z, t: z @ np.linalg.pinv(z) @ t, "it stretches"),
    ("7.2", turned_without_mirror, "a mirror is allowed"),
    ("7.2", lambda z, t: z @ (z.T @ t), "not orthogonal"),
    ("7.2", turned_about_the_middle, "were moved, too"),
    ("7.2", lambda z, t: z[:, ::-1], "comes closer"),
    ("7.3", agree_with_itself, "its own neighbours"),
    ("7.3", agree_k_plus_one, "drop it"),
    ("7.3", agree_by_vote, "takes a vote"),
    ("7.3", lambda z, y, k: agree_by_loop(z, y, k - 1), "one neighbour is missing"),
    ("7.3", lambda z, y, k: 1 - agree_by_loop(z, y, k), "with another label"),
    ("7.3", lambda z, y, k: k * agree_by_loop(z, y, k), "divide by k"),
    ("7.4", lambda a, s, b, t: ((a - b) ** 2).sum(), "spreads are missing"),
    (
        "7.4",
        lambda a, s, b, t: ((a - b) ** 2).sum() + (s + t).sum(),
        "variances add",
    ),
    ("7.4", lambda a, s, b, t: (a - b) ** 2 + s**2 + t**2, "add them up"),
    ("7.4", lambda a, s, b, t: ((a - b) ** 2 + (s + t) ** 2).sum(), "before squaring"),
    ("7.4", lambda a, s, b, t: ((a - b) ** 2 + s**2 - t**2).sum(), "not a difference"),
    ("7.4", lambda a, s, b, t: np.sqrt(((a - b) ** 2 + s**2 + t**2).sum()), "the squared one"),
    ("7.4", lambda a, s, b, t: ((a - b) ** 2 + s**2 + t**2).mean(), "averaged"),
]
