"""The main job: our estimators beside their baselines, on one data set."""

from sklearn_whitebox.comparison._data import DataError, load_problem
from sklearn_whitebox.comparison._report import format_report
from sklearn_whitebox.comparison._run import compare, environment

__all__ = ["DataError", "compare", "environment", "format_report", "load_problem"]
