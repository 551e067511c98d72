"""Scores on arrays: clustering accuracy, recovery of dictionaries, rates."""

from sklearn_whitebox.metrics._rate import (
    rate_reduction_score,
    rate_reduction_scorer,
)

__all__ = [
    "rate_reduction_score",
    "rate_reduction_scorer",
]
