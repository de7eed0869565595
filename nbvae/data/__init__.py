"""From files to minibatches: raw counts, checked once; covariates; the split."""
