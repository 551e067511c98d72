"""Warn at the line of whoever called this library."""

import sys
import warnings

# Decorators put their own frames between a caller and a method.
_INSIDE = ("sklearn_whitebox", "sklearn", "contextlib")


def warn(message, category=UserWarning):
    """Warn with the line of whoever called from outside of this library.

    Parameters
    ----------
    message : str
        What happened, and what to do.
    category : type, default=UserWarning
        Class of the warning.
    """
    level, frame = 1, sys._getframe()
    while frame is not None and _package(frame) in _INSIDE:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def _package(frame):
    # Code run by `exec` need not have a name.
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]
