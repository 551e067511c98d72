"""Scores on arrays: clustering accuracy, recovery of dictionaries, rates."""
