"""What the modules of fitted estimators share: rows in, the estimator's numbers out."""

import torch
from torch import Tensor, nn


class RowsModule(nn.Module):
    """Base of the modules that take the rows of an estimator.

    Rows may be of any numeric type. Centres and scales are kept in double precision
    whatever the type of the network, since columns far from zero lose their digits
    otherwise; ``module.float()`` makes them single, for devices without doubles.

    Parameters
    ----------
    n_features : int
        Columns of the rows.
    """

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.n_features = n_features

    def _rows(self, X: Tensor) -> Tensor:
        """Refuse what is no table of so many columns: it would be broadcast."""
        if not isinstance(X, Tensor):
            raise TypeError(
                f"X must be a torch.Tensor, not a {type(X).__name__}; use "
                "torch.from_numpy(X)."
            )
        if X.ndim != 2 or X.shape[1] != self.n_features:
            raise ValueError(
                f"X has shape {tuple(X.shape)}, but this module takes rows of shape "
                f"(n_samples, {self.n_features})."
            )
        if not X.is_floating_point():
            return X.to(torch.float64)
        # Estimators take half precision as numbers, and do not compute in it.
        return X if X.dtype in (torch.float32, torch.float64) else X.to(torch.float32)


class Standardize(nn.Module):
    """Subtract a centre and divide by a scale, column by column.

    Parameters
    ----------
    centre : Tensor of shape (n_features,) or ()
        Subtracted, in double precision.
    scale : Tensor of shape (n_features,) or ()
        Divided by, in double precision.
    """

    centre: Tensor
    scale: Tensor

    def __init__(self, centre: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("centre", centre)
        self.register_buffer("scale", scale)

    def forward(self, X: Tensor) -> Tensor:
        """Scale rows.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        scaled : Tensor of shape (n_samples, n_features)
            In the type of the centre.
        """
        return (X.to(self.centre.dtype) - self.centre) / self.scale


def type_of(module: nn.Module) -> torch.dtype:
    """Tell in which floating type a module computes.

    Parameters
    ----------
    module : Module
        With parameters.

    Returns
    -------
    dtype : torch.dtype
        That of its first parameter.
    """
    return next(module.parameters()).dtype


def unit_rows(X: Tensor) -> Tensor:
    """Scale rows to unit norm, in their own type.

    Parameters
    ----------
    X : Tensor of shape (n_samples, n_features)
        Finite rows of any scale.

    Returns
    -------
    rows : Tensor of shape (n_samples, n_features)
        Unit rows; rows of zeros stay zero.
    """
    rows = unit_peaks(X)
    norms = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return rows / torch.where(norms > 0, norms, 1)


def unit_peaks(X: Tensor) -> Tensor:
    """Divide rows by their largest entry: tiny and huge numbers have no squares.

    Parameters
    ----------
    X : Tensor of shape (n_samples, ...)
        Finite rows of any scale.

    Returns
    -------
    rows : Tensor of shape (n_samples, ...)
        Entries between -1 and 1; rows of zeros stay zero.
    """
    axes = tuple(range(1, X.ndim))
    peaks = X.detach().abs().amax(axes, keepdim=True)
    return X / torch.where(peaks > 0, peaks, 1)
