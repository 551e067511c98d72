"""Show dictionary atoms as images."""

import math

import numpy as np

from sklearn_whitebox.display._axes import check_axes
from sklearn_whitebox.display._classes import as_features, check_has

_ALTERNATIVES = (
    "SparseDictionaryLearner, LearnedSparseEncoder, SparseAutoencoder and "
    "scikit-learn's decompositions do. Atoms of your own go to "
    "AtomsDisplay.from_predictions(components, image_shape=...)."
)


class AtomsDisplay:
    """Atoms of a dictionary, drawn as a mosaic of images.

    Parameters
    ----------
    components : ndarray of shape (n_components, n_pixels)
        One atom a row, most important first.
    image_shape : tuple of int
        (height, width) of an atom, or (height, width, 3) in red, green and blue.

    Attributes
    ----------
    ax_ : Axes
        Axes of the last plot.
    figure_ : Figure
        Figure of the last plot.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_whitebox.display import AtomsDisplay
    >>> display = AtomsDisplay(np.eye(4), image_shape=(2, 2)).plot()
    >>> display.mosaic().shape
    (7, 7)
    """

    def __init__(self, components, *, image_shape):
        self.components = components
        self.image_shape = image_shape

    @classmethod
    def from_estimator(cls, estimator, *, image_shape, ax=None, **plot_settings):
        """Draw the atoms of a fitted dictionary learner.

        Parameters
        ----------
        estimator : estimator
            Fitted, with an attribute ``components_``.
        image_shape : tuple of int
            (height, width) of the training images, or (height, width, 3).
        ax : Axes, default=None
            Where to draw; None makes a figure.
        **plot_settings : kwargs
            Passed to :meth:`plot`.

        Returns
        -------
        display : AtomsDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If the estimator has no atoms.
        ValueError
            If `image_shape` does not fit them.
        """
        check_has(estimator, ["components_"], "AtomsDisplay", _ALTERNATIVES)
        return cls.from_predictions(
            estimator.components_, image_shape=image_shape, ax=ax, **plot_settings
        )

    @classmethod
    def from_predictions(cls, components, *, image_shape, ax=None, **plot_settings):
        """Draw given atoms.

        Parameters
        ----------
        components : array-like of shape (n_components, n_pixels)
            One atom a row.
        image_shape : tuple of int
            (height, width) of an atom, or (height, width, 3).
        ax : Axes, default=None
            Where to draw; None makes a figure.
        **plot_settings : kwargs
            Passed to :meth:`plot`.

        Returns
        -------
        display : AtomsDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If `image_shape` does not fit the atoms.
        """
        display = cls(as_features(components), image_shape=image_shape)
        return display.plot(ax, **plot_settings)

    def mosaic(self, max_atoms=100):
        """Arrange the first atoms on a grid, each scaled to its own largest entry.

        Parameters
        ----------
        max_atoms : int, default=100
            Most atoms shown.

        Returns
        -------
        mosaic : ndarray of shape (height, width) or (height, width, 3)
            Values from -1 to 1; NaN between the tiles.

        Raises
        ------
        ValueError
            If the atoms are no matrix of images of `image_shape`, there is none, or
            `max_atoms` is not positive.
        """
        is_shape = np.iterable(self.image_shape)
        shape = tuple(self.image_shape) if is_shape else ()
        if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] != 3):
            raise ValueError(
                f"image_shape={self.image_shape} should be (height, width) or "
                "(height, width, 3)."
            )
        if max_atoms < 1:
            raise ValueError(f"max_atoms={max_atoms} must be positive.")
        atoms = as_features(self.components)[:max_atoms]
        if atoms.ndim != 2 or len(atoms) == 0:
            raise ValueError(
                f"components of shape {np.shape(self.components)} should have an atom "
                "in each row, and at least one."
            )
        n_pixels = math.prod(shape)
        if atoms.shape[1] != n_pixels:
            raise ValueError(
                f"image_shape={self.image_shape} has {n_pixels} pixels, but the "
                f"atoms have {atoms.shape[1]}."
            )
        height, width = shape[:2]
        columns = math.ceil(math.sqrt(len(atoms)))
        rows = math.ceil(len(atoms) / columns)
        grid = np.full(
            (rows * (height + 1) + 1, columns * (width + 1) + 1, *shape[2:]), np.nan
        )
        largest = np.abs(atoms).max(axis=1, keepdims=True)
        tiles = np.divide(atoms, largest, out=np.zeros_like(atoms), where=largest > 0)
        for i, tile in enumerate(tiles):
            top = 1 + (i // columns) * (height + 1)
            left = 1 + (i % columns) * (width + 1)
            grid[top : top + height, left : left + width] = tile.reshape(shape)
        return grid

    def plot(self, ax=None, *, max_atoms=100, cmap="RdBu_r"):
        """Draw the mosaic.

        Parameters
        ----------
        ax : Axes, default=None
            Where to draw; None makes a figure.
        max_atoms : int, default=100
            Most atoms shown.
        cmap : str or Colormap, default="RdBu_r"
            Colours from the most negative to the most positive pixel of an atom; not
            for atoms in colour, whose zero is grey.

        Returns
        -------
        display : AtomsDisplay
            Itself, with ``ax_`` and ``figure_``.
        """
        mosaic = self.mosaic(max_atoms)
        self.ax_, self.figure_ = check_axes(ax, "AtomsDisplay", figsize=(5, 5))
        settings = {"interpolation": "nearest"}
        if mosaic.ndim == 3:
            self.ax_.imshow(np.nan_to_num((mosaic + 1) / 2, nan=1.0), **settings)
        else:
            self.ax_.imshow(mosaic, cmap=cmap, vmin=-1, vmax=1, **settings)
        shown = min(len(self.components), max_atoms)
        self.ax_.set(xticks=[], yticks=[], xlabel="each scaled to its largest entry")
        self.ax_.set_title(f"{shown} of {len(self.components)} atoms")
        return self
