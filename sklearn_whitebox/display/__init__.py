"""Displays: the only place that imports matplotlib."""
