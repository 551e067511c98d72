"""Save fitted estimators in files that cannot run code, and load them."""

from sklearn_whitebox.persistence._saving import load, save
from sklearn_whitebox.persistence._skops import SKOPS_TRUSTED

__all__ = ["SKOPS_TRUSTED", "load", "save"]
