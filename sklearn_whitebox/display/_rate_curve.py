"""Show how the rate reduction of features grows with their number."""

from sklearn_whitebox.display._axes import check_axes


class RateCurveDisplay:
    """Rate reduction of several embeddings against their dimension.

    Parameters
    ----------
    dimensions : dict of str to sequence of int
        Numbers of features of each embedding.
    rates : dict of str to sequence of float
        Rate reduction at these numbers, in nats per sample.
    attainable : tuple of (sequence of int, sequence of float) or None, default=None
        Dimensions, and the largest rate reduction that is possible there.

    Attributes
    ----------
    ax_ : Axes
        Axes of the last plot.
    figure_ : Figure
        Figure of the last plot.

    Examples
    --------
    >>> from sklearn_whitebox.display import RateCurveDisplay
    >>> display = RateCurveDisplay({"PCA": [2, 4]}, {"PCA": [0.1, 0.3]}).plot()
    >>> display.ax_.get_ylabel()
    'rate reduction (nats per sample)'
    """

    def __init__(self, dimensions, rates, *, attainable=None):
        self.dimensions = dimensions
        self.rates = rates
        self.attainable = attainable

    def plot(self, ax=None):
        """Draw one curve per embedding.

        Parameters
        ----------
        ax : Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : RateCurveDisplay
            Itself, with ``ax_`` and ``figure_``.
        """
        self.ax_, self.figure_ = check_axes(ax, "RateCurveDisplay", figsize=(6, 4.5))
        if self.attainable is not None:
            self.ax_.plot(*self.attainable, "k--", linewidth=1, label="attainable")
        for name, dimensions in self.dimensions.items():
            self.ax_.plot(dimensions, self.rates[name], "o-", label=name)
        self.ax_.set_xscale("log", base=2)
        self.ax_.xaxis.set_major_formatter("{x:g}")
        self.ax_.set(xlabel="dimension", ylabel="rate reduction (nats per sample)")
        self.ax_.grid(visible=True, alpha=0.3)
        self.ax_.legend()
        return self
