"""Matplotlib enters here, and only when something is plotted."""

import math

import numpy as np

from sklearn_whitebox._optional import require


def check_axes(ax, purpose, *, projection=None, **figure_settings):
    """Return axes to draw on, and their figure.

    Parameters
    ----------
    ax : Axes or None
        Axes of the caller; None makes a figure.
    purpose : str
        Who draws, for the message if matplotlib is missing.
    projection : {"3d"}, default=None
        Kind of the axes; None takes flat ones.
    **figure_settings : kwargs
        Passed to ``pyplot.subplots`` for a new figure.

    Returns
    -------
    ax, figure : Axes, Figure
        Where to draw.

    Raises
    ------
    TypeError
        If `ax` is no axes.
    ValueError
        If they are three-dimensional, and flat ones are needed.
    """
    if ax is None:
        pyplot = require("matplotlib.pyplot", extra="plot", purpose=purpose)
        figure, ax = pyplot.subplots(
            layout="constrained",
            subplot_kw={"projection": projection},
            **figure_settings,
        )
        return ax, figure
    _refuse_others(ax, projection)
    return ax, ax.figure


def _refuse_others(ax, projection=None):
    if not (hasattr(ax, "plot") and hasattr(ax, "figure")):
        raise TypeError(
            f"ax must be Axes of Matplotlib or None, not a {type(ax).__name__}."
        )
    if projection is None and hasattr(ax, "plot_wireframe"):
        raise ValueError(
            "ax is three-dimensional, and this display is flat; make it with "
            "plt.subplots()."
        )


def check_panels(
    ax, n_panels, purpose, *, size=(3.6, 3.2), n_columns=None, width_ratios=None
):
    """Return one axes for each panel, and their figure.

    Parameters
    ----------
    ax : Axes, sequence of Axes or None
        Axes of the caller; None makes a figure.
    n_panels : int
        How many are needed.
    purpose : str
        Who draws, for the message if matplotlib is missing.
    size : tuple of float, default=(3.6, 3.2)
        Inches of a panel of a new figure.
    n_columns : int, default=None
        Panels side by side in a new figure; None puts all of them into one row.
    width_ratios : sequence of float, default=None
        Relative widths of the columns of a new figure.

    Returns
    -------
    axes, figure : ndarray of Axes, Figure
        Where to draw.

    Raises
    ------
    TypeError
        If one of them is no axes.
    ValueError
        If the axes are not as many as the panels, or three-dimensional.
    """
    if ax is None:
        pyplot = require("matplotlib.pyplot", extra="plot", purpose=purpose)
        n_columns = min(n_columns or n_panels, n_panels)
        n_rows = math.ceil(n_panels / n_columns)
        figure, axes = pyplot.subplots(
            n_rows,
            n_columns,
            figsize=(size[0] * n_columns, size[1] * n_rows),
            layout="constrained",
            squeeze=False,
            width_ratios=width_ratios,
        )
        axes = axes.ravel()
        for unused in axes[n_panels:]:
            unused.remove()
        return axes[:n_panels], figure
    axes = np.array([ax] if not np.iterable(ax) else list(np.ravel(ax)), dtype=object)
    if len(axes) != n_panels:
        raise ValueError(
            f"ax has {len(axes)} axes for {n_panels} panels; give one for each, or "
            "choose what to draw."
        )
    for panel in axes:
        _refuse_others(panel)
    return axes, axes[0].figure
