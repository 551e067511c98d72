"""Synthetic data with planted structure, and loaders of real image data."""

from sklearn_whitebox.datasets._images import (
    fetch_fashion_mnist,
    fetch_mnist,
)
from sklearn_whitebox.datasets._sparse import (
    make_sparse_codes,
)
from sklearn_whitebox.datasets._subspaces import (
    make_low_rank_gaussians,
    make_union_of_subspaces,
)

__all__ = [
    "fetch_fashion_mnist",
    "fetch_mnist",
    "make_low_rank_gaussians",
    "make_sparse_codes",
    "make_union_of_subspaces",
]
