"""Estimators: validate, solve, store."""

from sklearn_whitebox.estimators._rate_reduction_embedding import RateReductionEmbedding

__all__ = ["RateReductionEmbedding"]
