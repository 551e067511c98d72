"""Iterative algorithms: arrays and settings in, a result out."""
