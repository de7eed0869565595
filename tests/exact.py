"""The negative binomial by its textbook formula, in numbers of sixty digits."""

import mpmath
import numpy as np

DIGITS = 60  # the log-gammas cancel up to 16 of them


def exact_nb(x, log_mean, log_theta):
    mean, theta = mpmath.exp(log_mean), mpmath.exp(log_theta)
    return (
        mpmath.loggamma(x + theta)
        - mpmath.loggamma(theta)
        - mpmath.loggamma(x + 1)
        + theta * mpmath.log(theta / (theta + mean))
        + x * mpmath.log(mean / (theta + mean))
    )


def each_exactly(function, *tensors):
    """Apply a function of mpmath numbers to each row of some tensors."""
    with mpmath.workdps(DIGITS):
        rows = zip(*(tensor.tolist() for tensor in tensors), strict=True)
        return np.array([float(function(*map(mpmath.mpf, row))) for row in rows])
