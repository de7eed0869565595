"""Counts that are too many for memory: written once to a zarr store, shuffled, then read in pieces.

``sources`` reads files piece by piece, ``agree`` makes one table of them (``same_genes``: which
names are the same gene), ``shuffle`` puts their cells in a random order on the disk, ``write``
makes the store, ``cells`` is what a model is trained on. ``engine`` knows zarr.
"""
