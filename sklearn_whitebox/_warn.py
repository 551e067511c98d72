"""Warn at the line of whoever called this library."""

import sys
import warnings

# Decorators of scikit-learn put their own frames between a caller and a method.
_INSIDE = ("sklearn_whitebox.", "sklearn.base.", "sklearn.utils._", "contextlib.")


def warn(message, category=UserWarning):
    """Warn with the line of whoever called from outside of this library.

    That is a line of scikit-learn where a search or a pipeline called.

    Parameters
    ----------
    message : str
        What happened, and what to do.
    category : type, default=UserWarning
        Class of the warning.
    """
    level, frame = 1, sys._getframe()
    while frame is not None and _module(frame).startswith(_INSIDE):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def _module(frame):
    # Code run by `exec` need not have a name.
    return f"{frame.f_globals.get('__name__', '')}."
