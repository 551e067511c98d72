"""What a fitted ReduNet classifier answers."""

import math

import numpy as np
from scipy.special import log_softmax
from sklearn.base import (
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.utils.validation import check_is_fitted, column_or_1d

from sklearn_whitebox._array import inference_device, restore, validate_array
from sklearn_whitebox._threads import serial_blas, torch_threads
from sklearn_whitebox.estimators._export_redunet import redunet_module
from sklearn_whitebox.estimators._redunet_fitting import (
    BLOCK,
    class_scores,
    lifted_features,
    work_per_row,
)
from sklearn_whitebox.estimators._redunet_inputs import lifted_shape
from sklearn_whitebox.estimators._redunet_statistics import describe_layers
from sklearn_whitebox.solvers._frequency_coding import ClassSpectrum
from sklearn_whitebox.solvers._redunet_forward import apply_redunet
from sklearn_whitebox.solvers._redunet_layers import ReduNetLayer
from sklearn_whitebox.solvers._redunet_spectra import (
    frequency_weights,
    from_frequencies,
)


class ReduNetPrediction(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClassifierMixin
):
    """Features, classes and probabilities from the arrays of a fitted network."""

    def transform(self, X):
        """Send samples through the network.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        Z : ndarray or Tensor of shape (n_samples, n_features_out)
            Features of unit norm after the last layer, in the floating type of `X`; for
            signals flattened from ``(n_channels, *input_shape[1:])``.
        """
        check_is_fitted(self)
        rows = validate_array(self, X, reset=False, power=2)
        layers, shape = self._layers(), self._lifted_shape()
        parts = [
            from_frequencies(self._propagate(layers, rows[i : i + BLOCK]), shape)
            for i in range(0, len(rows), BLOCK)
        ]
        Z = np.concatenate(parts).astype(rows.dtype, copy=False)
        return restore(Z, like=X, estimator=self)

    def decision_function(self, X):
        """Score classes by how well they code the features of the last layer.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        decision : ndarray or Tensor of shape (n_samples,) or (n_samples, n_classes)
            Negative incremental coding lengths in nats or, if `n_components` is given,
            negative squared distances from the subspaces plus the logarithms of the
            factors of `class_weight`, times `sharpness_`; for two classes the second
            minus the first.
        """
        scores = self._scores(X)
        if len(self.classes_) == 2:
            scores = scores[:, 1] - scores[:, 0]
        return restore(scores, like=X)

    def predict(self, X):
        """Predict the class that codes each sample in the fewest nats.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Class labels, from `classes_`; a NumPy array for tensors, too.
        """
        scores = self._scores(X)
        return self.classes_[scores.argmax(axis=1)]

    def predict_log_proba(self, X):
        """Estimate the logarithms of the probabilities of the classes.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        log_probabilities : ndarray or Tensor of shape (n_samples, n_classes)
            See :meth:`predict_proba`.
        """
        return restore(log_softmax(self._scores(X), axis=1), like=X)

    def predict_proba(self, X):
        """Estimate the probabilities of the classes.

        They are proportional to the exponentials of the scores. One factor, found
        during fit, makes their mean confidence on the training samples the accuracy on
        samples left out; beyond that they are not calibrated.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        probabilities : ndarray or Tensor of shape (n_samples, n_classes)
            Columns in the order of `classes_`; rows sum to one.
        """
        return restore(np.exp(log_softmax(self._scores(X), axis=1)), like=X)

    def build_module(self):
        """Build the fitted model as a module of plain torch.

        Changing it does not change the estimator. What it takes, how to train it
        further and how to write it as ONNX is told in the :ref:`User Guide <export>`.

        Returns
        -------
        module : torch.nn.Module
            On the CPU, in evaluation mode. Its ``forward(X)`` gives what
            :meth:`predict_proba` gives for a tensor of the same rows.

        Raises
        ------
        ValueError
            If `lift` is a transformer, which is no part of the network.
        """
        return redunet_module(self)

    def layer_statistics(self, X, y=None):
        """Measure what each layer does to samples.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
            Samples, usually other ones than those of the fit.
        y : array-like of shape (n_samples,), default=None
            Their labels; without them only what needs none is measured.

        Returns
        -------
        statistics : dict of str to ndarray
            Of the input and after each layer, so of length ``n_layers_ + 1``, in nats
            per sample: ``"coding_rate"``, and with labels
            ``"conditional_coding_rate"`` and ``"rate_reduction"``. Of each layer:
            ``"step"``, ``"temperature"``, the ``"membership_entropy"`` in nats of the
            memberships it estimates, ``"estimated_conditional_coding_rate"`` and
            ``"estimated_rate_reduction"`` with these in place of the labels, and with
            labels the ``"membership_accuracy"``.

        Notes
        -----
        Rates depend on the number of samples, so compare them within one call only.
        """
        check_is_fitted(self)
        if y is None:
            rows, labels = validate_array(self, X, reset=False, power=2), None
        else:
            rows, y = validate_array(self, X, y, reset=False, power=2)
            y = column_or_1d(y)
            labels = np.searchsorted(self.classes_, y).clip(max=len(self.classes_) - 1)
            if (self.classes_[labels] != y).any():
                strange = np.setdiff1d(y, self.classes_)
                raise ValueError(f"y has labels {strange!r} that are not in classes_.")
        with torch_threads(self._work(len(rows))), serial_blas():
            return describe_layers(
                self._layers(),
                self._lifted(rows),
                labels,
                len(self.classes_),
                distortion=self.distortion_,
                frequency_weights=frequency_weights(self._lifted_shape()),
            )

    @property
    def _n_features_out(self):
        shape = self._lifted_shape()
        return self._row_shape[1] if shape is None else math.prod(shape)

    def _work(self, n_rows):
        return n_rows * work_per_row(self._row_shape, len(self.classes_))

    def _layers(self):
        return [ReduNetLayer.from_arrays(_writable(layer)) for layer in self.layers_]

    def _lifted_shape(self):
        return lifted_shape(self.lift_, self.lift_arrays_, self._signal_shape)

    def _lifted(self, rows):
        V = lifted_features(rows, self.lift_, self.lift_arrays_, self._signal_shape)
        # Unit features are in the range of either floating type.
        return V.astype(self._dtype, copy=False)

    def _propagate(self, layers, rows):
        """Send valid rows through the network, as spectra."""
        work = self._work(len(rows))
        device = inference_device(self.device, work=work * len(layers))
        with torch_threads(work):
            return apply_redunet(
                layers,
                self._lifted(rows),
                frequency_weights=frequency_weights(self._lifted_shape()),
                device=device,
            )

    def _spectra(self):
        pairs = zip(self.class_spectra_, self.class_bases_, strict=True)
        if self._signal_shape is None:
            pairs = ((values[None], basis[None]) for values, basis in pairs)
        return [
            ClassSpectrum(count, values**2, basis)
            for count, (values, basis) in zip(self.class_count_, pairs, strict=True)
        ]

    def _scores(self, X):
        check_is_fitted(self)
        rows = validate_array(self, X, reset=False, power=2)
        layers, spectra = self._layers(), self._spectra()
        parts = [
            self._score_features(self._propagate(layers, rows[i : i + BLOCK]), spectra)
            for i in range(0, len(rows), BLOCK)
        ]
        scores = self.sharpness_ * np.concatenate(parts) + self._log_factors
        return scores.astype(rows.dtype)

    def _score_features(self, V, spectra):
        with serial_blas():
            return class_scores(
                V,
                spectra,
                distortion=self.distortion_,
                shares=frequency_weights(self._lifted_shape()),
                n_components=self._head_components,
            )


def _writable(arrays):
    """Copy arrays of memory-mapped files, which torch does not take."""
    return {k: a if a.flags.writeable else a.copy() for k, a in arrays.items()}
