"""Show dictionary atoms as images."""

import math

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sklearn_whitebox.display._axes import check_axes


class AtomsDisplay:
    """Atoms of a dictionary, drawn as a mosaic of images.

    Parameters
    ----------
    components : ndarray of shape (n_components, n_pixels)
        One atom a row, most important first.
    image_shape : tuple of int
        (height, width) of an atom.

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
            (height, width) of the training images.
        ax : Axes, default=None
            Where to draw; None makes a figure.
        **plot_settings : kwargs
            Passed to :meth:`plot`.

        Returns
        -------
        display : AtomsDisplay
            The display, drawn.
        """
        check_is_fitted(estimator, "components_")
        display = cls(estimator.components_, image_shape=image_shape)
        return display.plot(ax, **plot_settings)

    def mosaic(self, max_atoms=100):
        """Arrange the first atoms on a grid, each scaled to its own largest entry.

        Parameters
        ----------
        max_atoms : int, default=100
            Most atoms shown.

        Returns
        -------
        mosaic : ndarray of shape (height, width)
            Values from -1 to 1; NaN between the tiles.
        """
        height, width = self.image_shape
        atoms = np.asarray(self.components, dtype=float)[:max_atoms]
        if atoms.shape[1] != height * width:
            raise ValueError(
                f"image_shape={self.image_shape} has {height * width} pixels, but the "
                f"atoms have {atoms.shape[1]}."
            )
        columns = math.ceil(math.sqrt(len(atoms)))
        rows = math.ceil(len(atoms) / columns)
        grid = np.full((rows * (height + 1) + 1, columns * (width + 1) + 1), np.nan)
        largest = np.abs(atoms).max(axis=1, keepdims=True)
        tiles = np.divide(atoms, largest, out=np.zeros_like(atoms), where=largest > 0)
        for i, tile in enumerate(tiles):
            top = 1 + (i // columns) * (height + 1)
            left = 1 + (i % columns) * (width + 1)
            grid[top : top + height, left : left + width] = tile.reshape(height, width)
        return grid

    def plot(self, ax=None, *, max_atoms=100):
        """Draw the mosaic.

        Parameters
        ----------
        ax : Axes, default=None
            Where to draw; None makes a figure.
        max_atoms : int, default=100
            Most atoms shown.

        Returns
        -------
        display : AtomsDisplay
            Itself, with ``ax_`` and ``figure_``.
        """
        self.ax_, self.figure_ = check_axes(ax, "AtomsDisplay", figsize=(5, 5))
        mosaic = self.mosaic(max_atoms)
        self.ax_.imshow(mosaic, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
        shown = min(len(self.components), max_atoms)
        self.ax_.set(xticks=[], yticks=[])
        self.ax_.set_title(f"{shown} of {len(self.components)} atoms")
        return self
