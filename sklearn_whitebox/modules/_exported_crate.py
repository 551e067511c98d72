"""CRATE with all that the estimators do around it: from their rows to predictions."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sklearn_whitebox.modules._crate import CRATE
from sklearn_whitebox.modules._exported import RowsModule, type_of

# As at fit: a scaled value beyond this is as good as infinite.
_FAR = 1e6


class CRATEInputs(RowsModule):
    """Turn the rows of a table, or flattened images, into what a CRATE takes.

    Parameters
    ----------
    centre : Tensor of shape (n_numeric,)
        Subtracted from the numeric columns.
    scale : Tensor of shape (n_numeric,)
        Multiplied with them.
    numeric : sequence of int
        Where the numeric columns are.
    nominal : sequence of int
        Where the nominal columns are, which hold codes.
    n_labels : sequence of int
        Number of codes of every nominal column.
    has_missing : sequence of bool
        Whether the last of them stands for missing labels.
    soften : bool
        Whether far values are drawn in, as those of tables are.
    """

    centre: Tensor
    scale: Tensor
    numeric: Tensor
    nominal: Tensor
    n_labels: Tensor
    missing: Tensor

    def __init__(
        self,
        centre: Tensor,
        scale: Tensor,
        *,
        numeric: Sequence[int],
        nominal: Sequence[int],
        n_labels: Sequence[int],
        has_missing: Sequence[bool],
        soften: bool,
    ) -> None:
        super().__init__(len(numeric) + len(nominal))
        self.soften = soften
        self.n_numeric, self.n_nominal = len(numeric), len(nominal)
        self.register_buffer("centre", centre)
        self.register_buffer("scale", scale)
        counts = torch.tensor(n_labels, dtype=torch.long)
        # Missing labels are unknown ones where none was missing at fit.
        missing = counts - torch.tensor(has_missing, dtype=torch.long)
        self.register_buffer("numeric", torch.tensor(numeric, dtype=torch.long))
        self.register_buffer("nominal", torch.tensor(nominal, dtype=torch.long))
        self.register_buffer("n_labels", counts)
        self.register_buffer("missing", missing)

    def forward(self, X: Tensor) -> list[Tensor]:
        """Scale numbers and check codes.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_features)
            Rows with the columns in the order of the fit.

        Returns
        -------
        parts : list of Tensor
            Scaled numbers, then codes; what there is of them.
        """
        X = self._rows(X)
        parts = []
        if self.n_numeric:
            numbers = X.index_select(1, self.numeric) if self.n_nominal else X
            parts.append(self._scaled(numbers))
        if self.n_nominal:
            parts.append(self._checked(X.index_select(1, self.nominal)))
        return parts

    def _scaled(self, numbers: Tensor) -> Tensor:
        numbers = numbers.to(self.centre.dtype)
        far = min(_FAR, torch.finfo(numbers.dtype).max)
        scaled = ((numbers - self.centre) * self.scale).clamp(-far, far)
        if self.soften:
            scaled = scaled / (1 + (scaled / 3).square()).sqrt()
        # Not every runtime hands NaN through a clamp.
        return scaled.masked_fill(numbers.isnan(), math.nan)

    def _checked(self, codes: Tensor) -> Tensor:
        is_known = (codes >= 0) & (codes < self.n_labels) & (codes == codes.floor())
        checked = torch.where(is_known, codes, self.n_labels.to(codes.dtype))
        return torch.where(codes.isnan(), self.missing.to(codes.dtype), checked)


class CRATEPredictor(nn.Module):
    """Networks of an ensemble, and the rows that they read.

    Parameters
    ----------
    inputs : CRATEInputs
        Turns rows into what the networks take.
    networks : sequence of CRATE
        Networks of one architecture.
    """

    def __init__(self, inputs: CRATEInputs, networks: Sequence[CRATE]) -> None:
        super().__init__()
        self.inputs = inputs
        self.networks = nn.ModuleList(networks)

    def features(self, X: Tensor) -> Tensor:
        """Give the features that the heads read, as ``transform`` does.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        features : Tensor of shape (n_samples, n_features_out)
            Those of all networks and members, side by side.
        """
        rows = self._read(X)
        pooled = [_crate(network).pool(rows).flatten(1) for network in self.networks]
        return torch.cat(pooled, 1)

    def outputs(self, X: Tensor) -> Tensor:
        """Run all networks.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        outputs : Tensor of shape (n_samples, n_networks * n_members, n_outputs)
            What the heads give.
        """
        rows = self._read(X)
        outputs = [network(rows) for network in self.networks]
        if outputs[0].ndim == 2:
            return torch.stack(outputs, 1)
        return torch.cat(outputs, 1)

    def _read(self, X: Tensor) -> Tensor:
        dtype = type_of(self.networks)
        return torch.cat([part.to(dtype) for part in self.inputs(X)], 1)


class CRATEProbabilities(CRATEPredictor):
    """Class probabilities of an ensemble of CRATE networks.

    Parameters
    ----------
    inputs : CRATEInputs
        Turns rows into what the networks take.
    networks : sequence of CRATE
        Networks of one architecture.
    temperature : float
        What logits are divided by.
    """

    temperature: Tensor

    def __init__(
        self, inputs: CRATEInputs, networks: Sequence[CRATE], temperature: float
    ) -> None:
        super().__init__(inputs, networks)
        values = torch.tensor(temperature, dtype=type_of(self.networks))
        self.register_buffer("temperature", values)

    def forward(self, X: Tensor) -> Tensor:
        """Estimate the probabilities of the classes.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        probabilities : Tensor of shape (n_samples, n_classes)
            Rows sum to one.
        """
        return self.log_probabilities(X).softmax(-1)

    def log_probabilities(self, X: Tensor) -> Tensor:
        """Give the logarithms of the mean probabilities, to train on.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        logs : Tensor of shape (n_samples, n_classes)
            Logarithms.
        """
        logs = (self.outputs(X) / self.temperature).log_softmax(-1)
        if logs.shape[1] == 1:
            return logs[:, 0]
        return logs.logsumexp(1) - math.log(logs.shape[1])


class CRATEValues(CRATEPredictor):
    """Numbers predicted by an ensemble of CRATE networks.

    Parameters
    ----------
    inputs : CRATEInputs
        Turns rows into what the networks take.
    networks : sequence of CRATE
        Networks of one architecture.
    mean : Tensor of shape (n_outputs,)
        Means of the targets, in double precision.
    scale : Tensor of shape (n_outputs,)
        Standard deviations of the targets, in double precision.
    is_flat : bool
        Whether predictions have one dimension.
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        inputs: CRATEInputs,
        networks: Sequence[CRATE],
        *,
        mean: Tensor,
        scale: Tensor,
        is_flat: bool,
    ) -> None:
        super().__init__(inputs, networks)
        self.is_flat = is_flat
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)

    def forward(self, X: Tensor) -> Tensor:
        """Predict the targets.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        y : Tensor of shape (n_samples,) or (n_samples, n_outputs)
            Targets in their units, in double precision: single has no digits left for
            those far from zero.
        """
        y = self.outputs(X).mean(1).to(self.mean.dtype) * self.scale + self.mean
        return y[:, 0] if self.is_flat else y


def _crate(network: nn.Module) -> CRATE:
    assert isinstance(network, CRATE)
    return network
