"""What the classifier and the regressor by a white-box transformer share."""

from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from sklearn_whitebox._array import restore
from sklearn_whitebox._compat import Interval, StrOptions
from sklearn_whitebox.estimators._base import WhiteboxEstimator, all_or_nothing
from sklearn_whitebox.estimators._crate_fitting import fit_crate
from sklearn_whitebox.estimators._crate_inference import infer_all
from sklearn_whitebox.estimators._crate_inputs import number_categories
from sklearn_whitebox.estimators._crate_inspection import InspectionMixin
from sklearn_whitebox.estimators._crate_published import preset_parameters
from sklearn_whitebox.modules._augment import AUGMENTATIONS

_AUTO = StrOptions({"auto"})
_COUNT = Interval(Integral, 1, None, closed="left")


class BaseCRATE(
    InspectionMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    WhiteboxEstimator,
):
    """Parameters, features and diagnostics of a white-box transformer.

    The estimators document all of them.
    """

    _parameter_constraints: dict = {  # noqa: RUF012
        "n_layers": [_AUTO, Interval(Integral, 0, None, closed="left")],
        "d_token": [_AUTO, _COUNT],
        "n_heads": [_COUNT],
        "attention": [StrOptions({"mssa", "tssa"})],
        "sparsifier": [StrOptions({"ista", "odl", "mlp"}), None],
        "tokens": [StrOptions({"dense", "feature"})],
        "n_tokens": [_AUTO, _COUNT],
        "encoding": [StrOptions({"piecewise_linear", "periodic", "linear"})],
        "n_bins": [_AUTO, Interval(Integral, 2, None, closed="left")],
        "categorical_features": ["array-like", StrOptions({"from_dtype"}), None],
        "max_categories": [Interval(Integral, 2, None, closed="left"), None],
        "missing": [StrOptions({"error", "token"})],
        "image_shape": [tuple, list, None],
        "patch_size": [_COUNT, None],
        "stem": ["boolean", _AUTO],
        "pool": [StrOptions({"auto", "class", "mean", "concat"})],
        "augment": [StrOptions({"auto", *AUGMENTATIONS}), None],
        "dropout": [_AUTO, Interval(Real, 0, 1, closed="left")],
        "n_ensemble": [_AUTO, _COUNT],
        "n_members": [_AUTO, _COUNT],
        "max_iter": [_AUTO, _COUNT],
        "batch_size": [_AUTO, _COUNT],
        "learning_rate": [_AUTO, Interval(Real, 0, None, closed="neither")],
        "weight_decay": [_AUTO, Interval(Real, 0, None, closed="left")],
        "early_stopping": ["boolean", _AUTO],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [_COUNT],
        "refit": ["boolean", _AUTO],
        "max_time": [Interval(Real, 0, None, closed="neither"), None],
        "on_interrupt": [StrOptions({"raise", "keep"})],
        "warm_start": ["boolean"],
        "precision": [StrOptions({"float32", "float64", "bfloat16"})],
        "compile": ["boolean"],
        "device": [str, torch.device, None],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    @classmethod
    def from_preset(cls, name, **overrides):
        """Make an estimator of a published size for images.

        The settings of training stay the defaults.

        Parameters
        ----------
        name : {"crate-tiny", "crate-small", "crate-base", "crate-large"}
            Which one; images are 224 x 224 with three channels unless overridden.
        **overrides : kwargs
            Parameters that shall be others than those published.

        Returns
        -------
        estimator : object
            Unfitted estimator.

        Raises
        ------
        ValueError
            If there is no such preset.
        """
        return cls(**preset_parameters(name, overrides))

    @all_or_nothing()
    def fit(self, X, y, sample_weight=None, X_val=None, y_val=None):
        """Train the network.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            Table, or images flattened row by row with channels last.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Class labels, or numbers; several columns for a regression only.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; rows of zero weight are as good as absent.
        X_val : array-like or DataFrame of shape (n_val, n_features), default=None
            Rows to watch for early stopping and calibration, instead of a part of `X`.
        y_val : array-like of shape (n_val,) or (n_val, n_outputs), default=None
            Their targets.

        Returns
        -------
        self : object
            Fitted estimator.

        Raises
        ------
        ValueError
            If the rows, the targets or the parameters do not fit one another, or
            training diverges; messages say what to change.
        """
        fit_crate(self, X, y, sample_weight, X_val, y_val)
        return self

    def transform(self, X):
        """Give the features that the last, linear map reads.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            Rows as in :meth:`fit`.

        Returns
        -------
        features : ndarray or Tensor of shape (n_samples, n_features_out)
            Normalised tokens after the last layer as `pool` reads them, for every
            member of every network, side by side; a tensor for tensors, unless
            ``set_output`` asks for a container.
        """
        parts = infer_all(self, X, lambda module, rows: module.pool(rows).flatten(1))
        return restore(np.concatenate(parts, axis=1), like=X, estimator=self)

    def encode_categories(self, X):
        """Replace the labels of nominal columns by numbers, as a module takes them.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            Rows as in :meth:`fit`.

        Returns
        -------
        coded : ndarray of shape (n_samples, n_features)
            The columns in their order: numbers as they are, and of a label its
            position in `categories_`, -1 if it is not there, NaN if it is missing.
        """
        check_is_fitted(self)
        return number_categories(self, X)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.missing == "token"
        return tags
