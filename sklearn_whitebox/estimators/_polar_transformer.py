"""Images in polar coordinates, where a rotation is a circular shift."""

import math
from numbers import Integral, Real

import numpy as np
from scipy.sparse import csr_array
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from sklearn_whitebox._array import check_memory, restore, validate_array
from sklearn_whitebox._compat import Interval
from sklearn_whitebox.estimators._base import WhiteboxEstimator, all_or_nothing
from sklearn_whitebox.estimators._export_closed import resampler_module


class PolarTransformer(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, WhiteboxEstimator
):
    r"""Resample images along circles, so that rotating them shifts them.

    Rows are flattened images; each becomes `n_radii` signals of `n_angles` samples, one
    for each circle around its centre, by bilinear interpolation. Turning an image
    anticlockwise by ``360 / n_angles`` degrees shifts every signal by one sample, so
    what is invariant to circular shifts of the result, such as
    ``ReduNetClassifier(input_shape=(n_radii, n_angles))``, is invariant to rotation.

    Read more in the :ref:`User Guide <polar_transformer>`.

    Parameters
    ----------
    n_radii : int, default=15
        Number of circles, the first a point at the centre.
    n_angles : int, default=200
        Samples of each circle.
    input_shape : tuple of int, default=None
        ``(height, width)`` or ``(channels, height, width)`` of the images, in the order
        in which rows are flattened. None takes the most nearly square shape of one
        channel that has `n_features` pixels.
    max_radius : float, default=None
        Radius of the outermost circle in pixels; None takes the largest within the
        image, ``(min(height, width) - 1) / 2``. Pixels beyond the image read as zero.

    Attributes
    ----------
    input_shape_ : tuple of int
        ``(channels, height, width)``.
    output_shape_ : tuple of int
        ``(channels * n_radii, n_angles)``, to be given as `input_shape` to
        :class:`ReduNetClassifier`.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen during fit, if they were all strings.

    See Also
    --------
    ReduNetClassifier : Classifies signals in whatever way they are shifted.

    Notes
    -----
    Nothing is learnt from the data but their width. Transforming costs O(4 c r a) per
    image of c channels, r circles and a angles. A rotation by a multiple of 90 degrees
    is an exact shift if `n_angles` is a multiple of four; rotations in between shift
    the result up to the error of interpolating the image twice.

    References
    ----------
    .. [1] Chan, Yu, You, Qi, Wright, Ma (2022). ReduNet: a white-box deep network from
       the principle of maximizing rate reduction. JMLR 23.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_whitebox import PolarTransformer
    >>> image = np.arange(25.0).reshape(1, 5, 5)
    >>> polar = PolarTransformer(3, n_angles=8).fit(image.reshape(1, -1))
    >>> turned = np.rot90(image, axes=(1, 2)).reshape(1, -1)
    >>> Z = polar.transform(image.reshape(1, -1)).reshape(3, 8)
    >>> np.allclose(polar.transform(turned).reshape(3, 8), np.roll(Z, 2, axis=1))
    True
    """

    _parameter_constraints: dict = {  # noqa: RUF012
        "n_radii": [Interval(Integral, 1, None, closed="left")],
        "n_angles": [Interval(Integral, 1, None, closed="left")],
        "input_shape": [tuple, list, None],
        "max_radius": [Interval(Real, 0, None, closed="neither"), None],
    }

    def __init__(self, n_radii=15, *, n_angles=200, input_shape=None, max_radius=None):
        self.n_radii = n_radii
        self.n_angles = n_angles
        self.input_shape = input_shape
        self.max_radius = max_radius

    @all_or_nothing()
    def fit(self, X, y=None):
        """Settle the shape of the images and where to sample them.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
            Flattened images.
        y : None
            Ignored.

        Returns
        -------
        self : PolarTransformer
            The fitted transformer.

        Raises
        ------
        ValueError
            If the pixels of `input_shape` are not as many as the features.
        """
        X = validate_array(self, X, power=2)
        shape = self._image_shape(X.shape[1])
        check_memory(
            64.0 * self.n_radii * self.n_angles,
            what=f"Sampling at {self.n_radii * self.n_angles} points",
            remedy="lower n_radii or n_angles",
        )
        self.input_shape_ = shape
        self.output_shape_ = (shape[0] * self.n_radii, self.n_angles)
        return self

    def transform(self, X):
        """Resample images along circles.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
            Flattened images.

        Returns
        -------
        Z : ndarray or Tensor of shape (n_samples, channels * n_radii * n_angles)
            Signals of the circles, flattened from `output_shape_`, in the floating
            type of `X`.
        """
        check_is_fitted(self)
        rows = validate_array(self, X, reset=False, power=2)
        _, height, width = self.input_shape_
        check_memory(
            float(rows.itemsize) * len(rows) * self._n_features_out,
            what=f"Sampling {len(rows)} images",
            remedy="transform fewer rows at a time, or lower n_radii or n_angles",
        )
        pixels = rows.reshape(-1, height * width)
        sampling = self._sampling_weights(height, width)
        Z = (sampling.T.astype(rows.dtype) @ pixels.T).T
        Z = np.ascontiguousarray(Z).reshape(len(rows), self._n_features_out)
        return restore(Z, like=X, estimator=self)

    def build_module(self):
        """Build the fitted model as a module of plain torch.

        Changing it does not change the estimator. What it takes and how to write it as
        ONNX is told in the :ref:`User Guide <export>`.

        Returns
        -------
        module : torch.nn.Module
            On the CPU, in evaluation mode. Its ``forward(X)`` gives what
            :meth:`transform` gives for a tensor of the same rows.
        """
        return resampler_module(self)

    @property
    def _n_features_out(self):
        return math.prod(self.output_shape_)

    def _image_shape(self, n_features):
        if self.input_shape is None:
            height = next(
                h for h in range(math.isqrt(n_features), 0, -1) if n_features % h == 0
            )
            return 1, height, n_features // height
        shape = tuple(self.input_shape)
        if len(shape) not in (2, 3) or not all(
            isinstance(side, Integral) and side >= 1 for side in shape
        ):
            raise ValueError(
                f"input_shape={self.input_shape!r} must be (height, width) or "
                "(channels, height, width), in positive integers."
            )
        if math.prod(shape) != n_features:
            raise ValueError(
                f"input_shape={self.input_shape!r} has {math.prod(shape)} pixels, but "
                f"X has {n_features} features."
            )
        return (1,) * (3 - len(shape)) + tuple(int(side) for side in shape)

    def _sampling_weights(self, height, width):
        """Weigh the four pixels around each point of the circles."""
        radius = self.max_radius
        if radius is None:
            radius = (min(height, width) - 1) / 2
        radii = np.linspace(0, radius, self.n_radii)[:, None]
        angles = 2 * np.pi * np.arange(self.n_angles) / self.n_angles
        # Rows count downwards, so anticlockwise is towards smaller ones. Sines of right
        # angles are rounded: an outermost circle may not leave the image by rounding.
        y = ((height - 1) / 2 - radii * np.sin(angles).round(15)).ravel()
        x = ((width - 1) / 2 + radii * np.cos(angles).round(15)).ravel()
        top, left = np.floor(y), np.floor(x)
        points = np.arange(len(x))
        weights, pixels, outputs = [], [], []
        for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
            i, j = top + row, left + column
            weight = (1 - abs(y - i)) * (1 - abs(x - j))
            inside = (i >= 0) & (i < height) & (j >= 0) & (j < width) & (weight > 0)
            weights.append(weight[inside])
            pixels.append((i * width + j)[inside].astype(np.int64))
            outputs.append(points[inside])
        entries = np.concatenate(weights)
        places = np.concatenate(pixels), np.concatenate(outputs)
        return csr_array((entries, places), shape=(height * width, len(x)))
