"""Matplotlib enters here, and only when something is plotted."""

from sklearn_whitebox._optional import require


def check_axes(ax, purpose, **figure_settings):
    """Return axes to draw on, and their figure.

    Parameters
    ----------
    ax : Axes or None
        Axes of the caller; None makes a figure.
    purpose : str
        Who draws, for the message if matplotlib is missing.
    **figure_settings : kwargs
        Passed to ``pyplot.subplots`` for a new figure.

    Returns
    -------
    ax, figure : Axes, Figure
        Where to draw.
    """
    if ax is None:
        pyplot = require("matplotlib.pyplot", extra="plot", purpose=purpose)
        figure, ax = pyplot.subplots(layout="constrained", **figure_settings)
        return ax, figure
    return ax, ax.figure
