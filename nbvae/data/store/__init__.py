"""Counts that are too many for memory: written once to a zarr store, shuffled, then read in pieces.

``sources`` reads files piece by piece, ``shuffle`` puts their cells in a random order on the disk,
``write`` makes the store, ``cells`` is what a model is trained on. ``engine`` knows zarr.
"""
