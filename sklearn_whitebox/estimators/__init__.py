"""Estimators: validate, solve, store."""
