"""Show how many directions the features of each class use."""

import numpy as np

from sklearn_whitebox.display._axes import check_axes
from sklearn_whitebox.display._classes import (
    check_features,
    check_has,
    class_colours,
    classes_of,
)

# Classes up to which each has an entry in the legend.
_MOST_NAMED = 12
_ALTERNATIVES = (
    "RateReductionEmbedding, ReduNetClassifier and NearestSubspaceClassifier do. Give "
    "X, and y, to look at the features of any transformer, or features to "
    "ClassSpectraDisplay.from_predictions(Z, y)."
)


class ClassSpectraDisplay:
    """Singular values of the features of each class.

    Curves that fall off early belong to compact classes. If the curve of all features
    together holds as many large values as the classes have in total, the classes lie in
    independent subspaces.

    Parameters
    ----------
    spectra : sequence of ndarray of shape (n_values,)
        Singular values of each class in falling order.
    labels : sequence of str, default=None
        Names of the classes; None numbers them from 0.
    whole : ndarray of shape (n_values,), default=None
        Singular values of the features of all classes together.

    Attributes
    ----------
    ax_ : Axes
        Axes of the last plot.
    figure_ : Figure
        Figure of the last plot.
    lines_ : list of Line2D
        Curves of the classes in the last plot, and last that of all features.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_whitebox.display import ClassSpectraDisplay
    >>> Z, y = np.diag([2.0, 3.0, 4.0]), [0, 1, 1]
    >>> display = ClassSpectraDisplay.from_predictions(Z, y)
    >>> [values.round(6).tolist() for values in display.spectra]
    [[2.0], [4.0, 3.0]]
    """

    def __init__(self, spectra, *, labels=None, whole=None):
        self.spectra = spectra
        self.labels = labels
        self.whole = whole

    @classmethod
    def from_estimator(
        cls, estimator, X=None, y=None, *, labels=None, ax=None, **plot_settings
    ):
        """Draw the spectra of the classes of a fitted estimator.

        Parameters
        ----------
        estimator : estimator
            Fitted, with an attribute ``class_spectra_`` or ``spectra_``; with `X` any
            transformer.
        X : array-like of shape (n_samples, n_features), default=None
            Samples, whose features after ``transform`` are looked at; None takes the
            spectra that the estimator has kept.
        y : array-like of shape (n_samples,), default=None
            Class of each sample; None takes what the estimator predicts.
        labels : sequence of str, default=None
            Names of the classes; None takes ``classes_`` of the estimator.
        ax : Axes, default=None
            Where to draw; None makes a figure.
        **plot_settings : kwargs
            Passed to :meth:`plot`.

        Returns
        -------
        display : ClassSpectraDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If the estimator has no spectra and, with `X`, no ``transform``.
        ValueError
            If `labels` are not as many as the classes.
        """
        if X is not None:
            check_has(estimator, ["transform"], "ClassSpectraDisplay", _ALTERNATIVES)
            y = classes_of(estimator, X, y)
            return cls.from_predictions(
                estimator.transform(X), y, labels=labels, ax=ax, **plot_settings
            )
        wanted = ["class_spectra_", "spectra_"]
        check_has(estimator, wanted, "ClassSpectraDisplay", _ALTERNATIVES)
        spectra = getattr(estimator, "class_spectra_", None)
        if spectra is None:
            spectra = estimator.spectra_
        if labels is None and hasattr(estimator, "classes_"):
            labels = [str(label) for label in estimator.classes_]
        spectra = [np.sort(np.ravel(values))[::-1] for values in spectra]
        _check_labels(labels, spectra)
        return cls(spectra, labels=labels).plot(ax, **plot_settings)

    @classmethod
    def from_predictions(cls, Z, y, *, labels=None, ax=None, **plot_settings):
        """Draw the spectra of features with given classes.

        Parameters
        ----------
        Z : array-like of shape (n_samples, n_features)
            Features; they are not centred.
        y : array-like of shape (n_samples,)
            Class of each row.
        labels : sequence of str, default=None
            Names of the classes in sorted order; None takes the values of `y`.
        ax : Axes, default=None
            Where to draw; None makes a figure.
        **plot_settings : kwargs
            Passed to :meth:`plot`.

        Returns
        -------
        display : ClassSpectraDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If the lengths of `Z` and `y` differ, `Z` is not a matrix of finite numbers,
            or `labels` are not as many as the classes.
        """
        Z, y = check_features(Z, y)
        classes = np.unique(y)
        spectra = [np.linalg.svd(Z[y == label], compute_uv=False) for label in classes]
        if labels is None:
            labels = [str(label) for label in classes]
        _check_labels(labels, spectra)
        whole = np.linalg.svd(Z, compute_uv=False)
        return cls(spectra, labels=labels, whole=whole).plot(ax, **plot_settings)

    def plot(self, ax=None, *, cumulative=False, n_values=None, cmap=None):
        """Draw one curve per class.

        Parameters
        ----------
        ax : Axes, default=None
            Where to draw; None makes a figure.
        cumulative : bool, default=False
            Whether to draw the share of the squared norm that the first directions
            hold, which does not depend on the sizes of classes.
        n_values : int, default=None
            Draw the first so many values; None draws all.
        cmap : str or Colormap, default=None
            Colours of the classes, in their order; None takes ten that are safe for
            deficient colour vision, and viridis for more than ten classes.

        Returns
        -------
        display : ClassSpectraDisplay
            Itself, with ``ax_``, ``figure_`` and ``lines_``.
        """
        self.ax_, self.figure_ = check_axes(ax, "ClassSpectraDisplay", figsize=(6, 4.5))
        curves = [np.asarray(values, dtype=float) for values in self.spectra]
        names = self.labels
        if names is None:
            names = [str(k) for k in range(len(curves))]
        colours = class_colours(len(curves), cmap, "ClassSpectraDisplay")
        styles = [
            {"color": colour, "linewidth": 1.5, "label": name}
            for colour, name in zip(colours, names, strict=True)
        ]
        if self.whole is not None:
            curves.append(np.asarray(self.whole, dtype=float))
            styles.append({"color": "black", "linestyle": "--", "label": "all"})
        self.lines_ = []
        for values, style in zip(curves, styles, strict=True):
            values = _shares(values) if cumulative else values
            values = values[:n_values]
            self.lines_ += self.ax_.plot(np.arange(1, len(values) + 1), values, **style)
        what = "share of squared norm" if cumulative else "singular value"
        self.ax_.set(xlabel="direction", ylabel=what, title="Spectra of classes")
        self.ax_.set_ylim(bottom=0)
        self.ax_.xaxis.get_major_locator().set_params(integer=True)
        self.ax_.grid(visible=True, alpha=0.3)
        if len(self.spectra) <= _MOST_NAMED:
            self.ax_.legend(title="class", fontsize="small")
        return self


def _check_labels(labels, spectra):
    if labels is not None and len(labels) != len(spectra):
        raise ValueError(
            f"labels has {len(labels)} names for {len(spectra)} classes; give one for "
            "each."
        )


def _shares(values):
    energy = np.cumsum(values**2)
    return energy / energy[-1] if len(energy) and energy[-1] > 0 else energy
