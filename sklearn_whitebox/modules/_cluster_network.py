"""A network with two heads on the sphere: features, and whom they belong with."""

import copy
import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init


class ClusterNetwork(nn.Module):
    r"""Map rows to unit features Z and unit cluster embeddings C.

    A linear stem, usually fixed, gives coordinates :math:`t = Wx`. A body of hidden
    layers sees them, and each head adds a linear map of the coordinates to one of the
    body's output:

    .. math:: z = \frac{A_z t + B_z f(t)}{\|\cdot\|}, \qquad
       c = \frac{A_c t + B_c f(t)}{\|\cdot\|}

    With :math:`A = I` and :math:`B = 0` the network starts as its stem, and training
    departs from there.

    Parameters
    ----------
    n_inputs : int
        Width of the rows.
    n_components : int
        Width p of the stem and of both heads.
    hidden_layer_sizes : sequence of int, default=(256,)
        Widths of the hidden layers of the body; empty for linear heads.
    start : Tensor of shape (n_components, n_inputs), default=None
        Stem W. It stays fixed, and both heads start as the stem alone. None makes a
        stem that is trained.
    generator : Generator, default=None
        Draws the initial weights that `start` does not determine. None leaves them as
        they are, for a state to be loaded; the global generator is not used in either
        case.

    Notes
    -----
    There are no biases and the activation is odd, so the opposite of a row has the
    opposite features, and a row of zeros has features of zero: a subspace is mapped as
    a whole, whatever the signs of its samples.

    References
    ----------
    .. [1] Ding, Tong, Chan, Dai, Ma, Haeffele (2023). Unsupervised manifold linearizing
       and clustering. ICCV.

    Examples
    --------
    >>> import torch
    >>> from sklearn_whitebox.modules import ClusterNetwork
    >>> network = ClusterNetwork(
    ...     3, 3, (8,), start=torch.eye(3), generator=torch.Generator()
    ... )
    >>> Z, C = network(torch.tensor([[3.0, 0.0, 4.0]]))
    >>> Z
    tensor([[0.6000, 0.0000, 0.8000]], grad_fn=<DivBackward0>)
    """

    def __init__(
        self,
        n_inputs: int,
        n_components: int,
        hidden_layer_sizes: Sequence[int] = (256,),
        *,
        start: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.stem = _linear(n_inputs, n_components)
        widths = [n_components, *hidden_layer_sizes]
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise(widths):
            layers += [_linear(fan_in, fan_out), nn.Tanh()]
        self.body = nn.Sequential(*layers)
        self.feature_head = _ResidualHead(n_components, widths[-1])
        self.cluster_head = _ResidualHead(n_components, widths[-1])
        if generator is not None:
            self._draw(generator, is_residual=start is not None)
        if start is not None:
            with torch.no_grad():
                self.stem.weight.copy_(start)
            self.stem.weight.requires_grad_(False)

    def _draw(self, generator: torch.Generator, *, is_residual: bool) -> None:
        with torch.no_grad():
            # Coordinates of a unit vector have a mean square of 1/p.
            gain = math.sqrt(self.stem.out_features)
            for i, layer in enumerate(m for m in self.body if isinstance(m, nn.Linear)):
                bound = math.sqrt(3 / layer.in_features) * (gain if i == 0 else 1)
                layer.weight.uniform_(-bound, bound, generator=generator)
            bound = math.sqrt(3 / self.stem.in_features)
            self.stem.weight.uniform_(-bound, bound, generator=generator)
            for head in (self.feature_head, self.cluster_head):
                nn.init.eye_(head.skip.weight)
                bound = math.sqrt(3 / head.bend.in_features)
                head.bend.weight.uniform_(-bound, bound, generator=generator)
                if is_residual:
                    nn.init.zeros_(head.bend.weight)

    def forward(self, X: Tensor) -> tuple[Tensor, Tensor]:
        """Embed rows.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_inputs)
            Rows, of unit norm if the first layer is to see what it was scaled for.

        Returns
        -------
        Z : Tensor of shape (n_samples, n_components)
            Features, unit rows; zero where the input is.
        C : Tensor of shape (n_samples, n_components)
            Cluster embeddings, unit rows; zero where the input is.
        """
        coordinates = self.stem(X)
        hidden = self.body(coordinates)
        return (
            _to_sphere(self.feature_head(coordinates, hidden)),
            _to_sphere(self.cluster_head(coordinates, hidden)),
        )

    def copy_features_to_clusters(self) -> None:
        """Let the cluster head go on from the weights of the feature head."""
        state = copy.deepcopy(self.feature_head.state_dict())
        self.cluster_head.load_state_dict(state)

    def coordinates(self, X: Tensor) -> Tensor:
        """Apply the stem alone.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_inputs)
            Rows.

        Returns
        -------
        coordinates : Tensor of shape (n_samples, n_components)
            Unit rows; zero where the input is.
        """
        return _to_sphere(self.stem(X))


class _ResidualHead(nn.Module):
    """A linear map of the coordinates plus a linear map of the hidden layer."""

    def __init__(self, n_components: int, n_hidden: int) -> None:
        super().__init__()
        self.skip = _linear(n_components, n_components)
        self.bend = _linear(n_hidden, n_components)

    def forward(self, coordinates: Tensor, hidden: Tensor) -> Tensor:
        output: Tensor = self.skip(coordinates) + self.bend(hidden)
        return output


def _linear(fan_in: int, fan_out: int) -> nn.Linear:
    return skip_init(nn.Linear, fan_in, fan_out, bias=False, dtype=torch.float32)


def _to_sphere(rows: Tensor) -> Tensor:
    return rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True).clamp_min(1e-8)
