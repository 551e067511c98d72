"""Synthetic data with planted structure, and loaders of real image data."""

from sklearn_whitebox.datasets._images import (
    fetch_fashion_mnist,
    fetch_mnist,
)

__all__ = [
    "fetch_fashion_mnist",
    "fetch_mnist",
]
