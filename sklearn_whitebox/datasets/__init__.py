"""Synthetic data with planted structure, and loaders of real image data."""
