"""How far float32 may be from the exact result of a network, whatever the processor."""

import numpy as np


def by_hand(network, x):
    """Linear → ReLU → Linear in numpy, float64, from the network's weights."""
    w1, b1, w2, b2 = (p.detach().double().numpy() for p in network.parameters())
    return np.maximum(x.double().numpy() @ w1.T + b1, 0) @ w2.T + b2


def float32_error(network, x):
    """How far float32 may be from ``by_hand``, whatever the order in which a processor adds.

    A sum of n rounded products is wrong by at most n ε times the sum of their absolute values
    (Higham 2002, §3.1, to first order in ε); two layers add their n.
    """
    w1, b1, w2, b2 = (p.detach().double().abs().numpy() for p in network.parameters())
    absolute = (x.double().abs().numpy() @ w1.T + b1) @ w2.T + b2
    n = w1.shape[1] + w2.shape[1] + 4  # the biases, and the rounded inputs of the second layer
    return n * np.finfo(np.float32).eps * absolute
