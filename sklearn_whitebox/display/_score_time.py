"""Show what a score costs."""

import numpy as np
from sklearn.metrics import accuracy_score
from sklearn.model_selection import cross_validate

from sklearn_whitebox.display._axes import check_axes
from sklearn_whitebox.display._classes import as_array, check_named


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

    @classmethod
    def from_estimator(
        cls, estimator, X, y=None, *, cv=None, scoring=None, highlighted=(), ax=None
    ):
        """Cross-validate estimators one after the other, and draw score and time.

        Parameters
        ----------
        estimator : estimator or dict of str to estimator
            What to compare; clones are fitted.
        X : array-like of shape (n_samples, n_features)
            Samples.
        y : array-like of shape (n_samples,), default=None
            Their targets.
        cv : int, splitter or iterable, default=None
            Folds, as in :func:`sklearn.model_selection.cross_validate`.
        scoring : str or callable, default=None
            Score; None takes the ``score`` of each estimator.
        highlighted : collection of str, default=()
            Methods drawn in the accent colour.
        ax : Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : ScoreTimeDisplay
            The display, drawn.
        """
        if not isinstance(estimator, dict):
            estimator = {type(estimator).__name__: estimator}
        results = {
            name: cross_validate(model, X, y, cv=cv, scoring=scoring)
            for name, model in estimator.items()
        }
        name = scoring.replace("_", " ") if isinstance(scoring, str) else "score"
        return cls.from_cv_results(
            results, highlighted=highlighted, score_name=name, ax=ax
        )

    @classmethod
    def from_cv_results(
        cls, cv_results, *, highlighted=(), score_name="score", ax=None
    ):
        """Draw what cross-validation has measured.

        Parameters
        ----------
        cv_results : dict of str to dict
            For each method what :func:`sklearn.model_selection.cross_validate` gave
            for one score.
        highlighted : collection of str, default=()
            Methods drawn in the accent colour.
        score_name : str, default="score"
            Label of the score axis.
        ax : Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : ScoreTimeDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If there is no method, or one has no score or several.
        """
        if not cv_results:
            raise ValueError("There is no method to draw; give at least one.")
        found = list(cv_results.values())
        if not all("test_score" in result for result in found):
            raise ValueError(
                "Each method needs the test_score of cross_validate, which has it if "
                "scoring is a single score."
            )
        scores = [np.mean(result["test_score"]) for result in found]
        errors = [np.std(result["test_score"]) for result in found]
        times = [np.mean(result["fit_time"] + result["score_time"]) for result in found]
        return cls(
            list(cv_results),
            np.array(scores),
            np.array(errors),
            np.array(times),
            highlighted=highlighted,
            score_name=score_name,
        ).plot(ax)

    @classmethod
    def from_predictions(
        cls,
        y_true,
        y_pred,
        times,
        *,
        score=accuracy_score,
        highlighted=(),
        score_name=None,
        ax=None,
    ):
        """Draw the scores of given predictions against given times.

        Parameters
        ----------
        y_true : array-like of shape (n_samples,)
            True targets.
        y_pred : dict of str to array-like of shape (n_samples,)
            Predictions of each method.
        times : dict of str to float
            Seconds each takes.
        score : callable, default=accuracy_score
            Function of `y_true` and a prediction.
        highlighted : collection of str, default=()
            Methods drawn in the accent colour.
        score_name : str, default=None
            Label of the score axis; None takes the name of the function.
        ax : Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : ScoreTimeDisplay
            The display, drawn, without deviations.

        Raises
        ------
        TypeError
            If the predictions have no names.
        ValueError
            If there is no method, or one has no time.
        """
        check_named(y_pred, "y_pred")
        missing = [name for name in y_pred if name not in times]
        if missing or not y_pred:
            raise ValueError(
                f"times lacks {', '.join(map(str, missing))}; give the seconds of each."
                if missing
                else "There is no method to draw; give at least one."
            )
        if score_name is None:
            score_name = getattr(score, "__name__", "score")
            score_name = score_name.removesuffix("_score").replace("_", " ")
        y_true = as_array(y_true)
        return cls(
            list(y_pred),
            np.array([score(y_true, as_array(found)) for found in y_pred.values()]),
            np.zeros(len(y_pred)),
            np.array([times[name] for name in y_pred], dtype=float),
            highlighted=highlighted,
            score_name=score_name,
        ).plot(ax)

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
