"""Show what a score costs."""

import numpy as np

from sklearn_whitebox.display._axes import check_axes


class ScoreTimeDisplay:
    """Score of several methods against the time they take.

    Parameters
    ----------
    names : sequence of str
        Methods.
    scores : ndarray of shape (n_methods,)
        Mean score of each.
    errors : ndarray of shape (n_methods,)
        Standard deviation of each score.
    times : ndarray of shape (n_methods,)
        Seconds each takes.
    highlighted : collection of str, default=()
        Methods drawn in the accent colour.
    score_name : str, default="score"
        Label of the score axis.

    Attributes
    ----------
    ax_ : Axes
        Axes of the last plot.
    figure_ : Figure
        Figure of the last plot.

    Examples
    --------
    >>> from sklearn_whitebox.display import ScoreTimeDisplay
    >>> display = ScoreTimeDisplay(["PCA", "LDA"], [0.9, 0.8], [0, 0], [1, 0.1]).plot()
    >>> display.ax_.get_xscale()
    'log'
    """

    def __init__(
        self, names, scores, errors, times, *, highlighted=(), score_name="score"
    ):
        self.names = names
        self.scores = scores
        self.errors = errors
        self.times = times
        self.highlighted = highlighted
        self.score_name = score_name

    def plot(self, ax=None):
        """Draw one labelled point per method; up and left is better.

        Parameters
        ----------
        ax : Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : ScoreTimeDisplay
            Itself, with ``ax_`` and ``figure_``.
        """
        self.ax_, self.figure_ = check_axes(ax, "ScoreTimeDisplay", figsize=(6, 4.5))
        # A millisecond is as good as nothing, and the axis stays short.
        times = np.maximum(np.asarray(self.times, dtype=float), 1e-3)
        ours = set(self.highlighted)
        for name, score, error, time in zip(
            self.names, self.scores, self.errors, times, strict=True
        ):
            colour = "tab:red" if name in ours else "tab:gray"
            self.ax_.errorbar(time, score, yerr=error, fmt="o", color=colour, capsize=3)
        self._write_names(times, ours)
        self.ax_.set_xscale("log")
        self.ax_.set_xlim(times.min() / 3, times.max() * 3)
        # Over less than a decade matplotlib would write out every minor tick.
        self.ax_.xaxis.set_minor_formatter("")
        self.ax_.xaxis.set_major_formatter("{x:g}")
        self.ax_.set(xlabel="seconds to fit and apply", ylabel=self.score_name)
        self.ax_.grid(visible=True, alpha=0.3)
        return self

    def _write_names(self, times, ours):
        """Write names beside the points, moved apart where they would overlap."""
        scores = np.asarray(self.scores, dtype=float)
        errors = np.asarray(self.errors, dtype=float)
        low, high = (scores - errors).min(), (scores + errors).max()
        step = 0.045 * max(high - low, 1e-3)
        middle = np.sqrt(times.min() * times.max())
        placed = -np.inf
        for i in np.argsort(scores, kind="stable"):
            height = max(scores[i], placed + step)
            placed = height
            # Names grow towards the middle, where there is room.
            rightwards = times[i] <= middle
            self.ax_.annotate(
                self.names[i],
                (times[i], scores[i]),
                xytext=(times[i] * (1.15 if rightwards else 1 / 1.15), height),
                fontsize=8,
                ha="left" if rightwards else "right",
                va="center",
                color="tab:red" if self.names[i] in ours else "black",
            )
