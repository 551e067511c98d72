"""How a ReduNet classifier is put together from its parameters and valid rows."""

import math

import numpy as np

from sklearn_whitebox._array import resolve_device
from sklearn_whitebox._progress import Progress
from sklearn_whitebox._random import draw_seed
from sklearn_whitebox._threads import serial_blas, torch_threads
from sklearn_whitebox._warn import warn
from sklearn_whitebox.estimators import _redunet_fitting as fitting
from sklearn_whitebox.estimators import _redunet_inputs as inputs
from sklearn_whitebox.estimators._redunet_prediction import ReduNetPrediction
from sklearn_whitebox.estimators._redunet_statistics import final_rates
from sklearn_whitebox.estimators._redunet_training import train_network
from sklearn_whitebox.estimators._redunet_update import update_network
from sklearn_whitebox.solvers._frequency_coding import class_spectra
from sklearn_whitebox.solvers._redunet_spectra import frequency_weights

# Absolute steps beyond this, in units of 1 / α, overshoot.
_LARGEST_STEP = 2.0

# Distortions that are compared, for features of unit norm.
_DISTORTIONS = (0.01, 0.03, 0.1, 0.3, 1.0)


class ReduNetConstruction(ReduNetPrediction):
    """Fitted attributes from the parameters of the estimator that inherits this."""

    def _build(self, X, y, sample_weight, classes, *, growing):
        labels = np.searchsorted(classes, y)
        n_tasks = self.n_layers + self.finetune
        progress = Progress(self, n_tasks, X, verbose=self.verbose)
        seed = draw_seed(self.random_state)
        X, labels, counts, weights = fitting.weigh_rows(
            X, labels, classes, sample_weight, self.class_weight
        )
        with torch_threads(2.0 * X.size * min(X.shape)), serial_blas():
            accuracy = self._settle_lift(X, labels, counts, len(classes), seed)
        probe = fitting.lifted_features(
            X[:1], self.lift_, self.lift_arrays_, self._signal_shape
        )
        self._dtype = probe.dtype.name
        self._row_shape = probe.shape[1:]
        self._head_components = self.n_components
        self.classes_ = classes
        self._check_sizes(labels, weights.sum(), probe)
        work = self._work(len(X))
        with torch_threads(work), serial_blas():
            result = fitting.build(
                X,
                labels,
                weights,
                lift=self.lift_,
                arrays=self.lift_arrays_,
                shape=self._signal_shape,
                chunk_size=self.chunk_size,
                n_classes=len(classes),
                device=resolve_device(self.device, work=work * self.n_layers),
                callback=progress,
                **self._settings(growing),
            )
            layers, moments, self.loss_curve_ = result.layers, result.final, []
            if self.finetune and layers:
                layers, moments, self.loss_curve_ = self._train(
                    layers, X, labels, weights, seed, progress
                )
        self._store(layers, moments)
        self.statistics_ = {k: np.array(v) for k, v in result.statistics.items()}
        self.objective_curve_ = self.statistics_["rate_reduction"]
        self._set_sharpness(X, labels, counts, accuracy)
        progress.close()
        return self

    def _train(self, layers, X, labels, weights, seed, progress):
        work = 3.0 * self._work(len(X)) * len(layers)
        n_built = len(layers)
        return train_network(
            layers,
            self._lifted(X),
            labels,
            weights,
            n_classes=len(self.classes_),
            shape=self._lifted_shape(),
            distortion=self.distortion_,
            n_passes=self.finetune,
            seed=seed,
            device=resolve_device(self.device, work=work * self.finetune),
            callback=lambda index, loss: progress(n_built + index, -loss),
        )

    def _settle_lift(self, X, labels, weights, n_classes, seed):
        custom = not (self.lift is None or isinstance(self.lift, str))
        if custom:
            lift = inputs.fit_transformer(self.lift, X, labels)
            width = inputs.apply_lift(lift, {}, X[:1], None).shape[1]
            shape = inputs.signal_shape(self.input_shape, width)
            candidates = [(lift, {})]
        else:
            shape = inputs.signal_shape(self.input_shape, X.shape[1])
            if self.lift == "random_relu" and shape is None and self.n_channels:
                # The choice of the distortion alone would take minutes.
                self._check_network(labels, n_classes, (1, self.n_channels), X.itemsize)
            candidates = self._candidates(X, weights, shape, seed)
        automatic = self.distortion == "auto"
        distortions = _DISTORTIONS if automatic else (float(self.distortion),)
        best, finest, accuracy = fitting.choose_inputs(
            candidates,
            X,
            labels,
            weights,
            shape=shape,
            n_classes=n_classes,
            distortions=distortions,
        )
        self.lift_, self.lift_arrays_ = candidates[best]
        self.distortion_ = distortions[finest]
        self._signal_shape = shape
        names = [
            lift if isinstance(lift, str) else type(lift).__name__
            for lift, _ in candidates
        ]
        reached = accuracy.max(axis=1).tolist()
        self.lift_accuracy_ = dict(zip(names, reached, strict=True))
        return float(accuracy[best, finest])

    def _candidates(self, X, weights, shape, seed):
        n_channels = self.n_channels
        if n_channels is None:
            n_channels = inputs.default_channels(X.shape[1], len(X), shape)
        lifts = [self.lift or "none"]
        if self.lift == "auto":
            lifts = ["none", "bias", "random_relu"]
            # Random features no more than the features themselves lose some of them.
            if shape is None and self.n_channels is None and n_channels <= X.shape[1]:
                lifts.remove("random_relu")
        options = {
            "shape": shape,
            "n_channels": n_channels,
            "kernel_size": self.kernel_size,
            "seed": seed,
        }
        return [(lift, inputs.fit_lift(lift, X, weights, **options)) for lift in lifts]

    def _check_sizes(self, labels, total, probe):
        n_classes = len(self.classes_)
        self._check_network(labels, n_classes, self._row_shape, probe.itemsize)
        step = self.step_size * self._row_shape[1] / (total * self.distortion_)
        if self.step_mode == "absolute" and step > _LARGEST_STEP:
            warn(
                f"step_size={self.step_size} is {step:.3g} in units of 1 / α; layers "
                "overshoot beyond 2, as features are many and samples few. Use "
                "step_mode='relative', or lower step_size or raise distortion.",
                UserWarning,
            )

    def _check_network(self, labels, n_classes, row_shape, itemsize):
        fitting.check_network(
            np.bincount(labels, minlength=n_classes),
            row_shape,
            itemsize,
            n_layers=self.n_layers,
            dense=self.compress_layers is None or self.finetune > 0,
            in_memory=self.chunk_size is None,
            trained=self.finetune > 0,
        )

    def _settings(self, growing):
        return {
            "distortion": self.distortion_,
            "n_layers": self.n_layers,
            "step_size": self.step_size,
            "step_mode": self.step_mode,
            "membership": self.membership,
            "membership_temperature": self.membership_temperature,
            "balance_membership": self.balance_membership,
            # Layers that bring nothing now may do so with later samples.
            "tol": 0.0 if growing else self.tol,
            "monotone": not growing,
            "rank": self.compress_layers,
        }

    def _update(self, X, y, sample_weight):
        labels = np.searchsorted(self.classes_, y)
        X, labels, _, weights = fitting.weigh_rows(
            X, labels, self.classes_, sample_weight, self.class_weight
        )
        work = self._work(len(X))
        with torch_threads(work), serial_blas():
            layers, moments = update_network(
                self._layers(),
                self._spectra(),
                self._lifted(X),
                labels,
                weights,
                forget=self.forget,
                distortion=self.distortion_,
                automatic=self.membership_temperature == "auto",
                step_mode=self.step_mode,
                rank=self.compress_layers,
                device=resolve_device(self.device, work=work * self.n_layers_),
            )
        self._store(layers, moments)
        return self

    def _store(self, layers, moments):
        """Keep a network as plain arrays, and the classes after its last layer."""
        self.layers_ = [layer.to_arrays() for layer in layers]
        self.n_layers_ = len(layers)
        with serial_blas():
            spectra = class_spectra(moments)
            rates = final_rates(
                moments,
                distortion=self.distortion_,
                frequency_weights=frequency_weights(self._lifted_shape()),
                dtype=self._dtype,
            )
        plain = self._signal_shape is None
        pick = (lambda array: array[0]) if plain else (lambda array: array)
        self.class_count_ = moments.counts.copy()
        self.class_bases_ = [pick(spectrum.basis) for spectrum in spectra]
        self.class_spectra_ = [pick(np.sqrt(spectrum.values)) for spectrum in spectra]
        self.coding_rate_, self.conditional_coding_rate_ = rates
        self.rate_reduction_ = self.coding_rate_ - self.conditional_coding_rate_

    def _set_sharpness(self, X, labels, counts, accuracy):
        some = slice(inputs.sample_size(math.prod(self._row_shape)))
        V = self._propagate(self._layers(), X[some])
        scores = self._score_features(V, self._spectra())
        self.sharpness_ = fitting.choose_sharpness(scores, counts[some], accuracy)
        self._log_factors = np.zeros(len(self.classes_))
        if self.n_components is not None:
            totals = np.bincount(labels, counts, minlength=len(self.classes_))
            # Coding lengths know the weights of the classes, distances do not.
            factors = fitting.class_factors(self.class_weight, self.classes_, totals)
            self._log_factors = np.log(factors)
