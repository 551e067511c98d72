"""Encodings: from one number to several that a linear map can bend."""

import math

import torch
from torch import Tensor, nn

from sklearn_whitebox.modules._crate_config import CRATEConfig, Device, uniform_


class LinearEncoding(nn.Module):
    """Encode every number by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.width = 1

    def initial_scale(self) -> Tensor:
        """Give the relative size of the first weights that read the code.

        Returns
        -------
        scale : Tensor of shape (1,)
            One.
        """
        return torch.ones(1)

    def forward(self, X: Tensor) -> Tensor:
        """Encode rows.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_features)
            Scaled features.

        Returns
        -------
        encoded : Tensor of shape (n_samples, n_features, 1)
            The numbers.
        """
        return X[..., None]


class PeriodicEncoding(nn.Module):
    r"""Encode every number by itself and a few learnt waves of it.

    .. math:: x_j \mapsto \bigl(x_j,\ V_j \cos(2\pi(c_j x_j + \varphi_j)) + v_j\bigr)

    A network of linear maps alone bends slowly along a single feature; the waves let
    it put thresholds and bumps there.

    Parameters
    ----------
    n_features : int
        Number of features.
    n_waves : int, default=16
        Waves of each feature.
    width : int, default=4
        Numbers a feature is encoded by, itself included.
    scale : float, default=0.1
        Standard deviation of the initial frequencies, in cycles per unit.
    device : str or device, default=None
        Where to put the parameters.
    """

    def __init__(
        self,
        n_features: int,
        *,
        n_waves: int = 16,
        width: int = 4,
        scale: float = 0.1,
        device: Device = None,
    ) -> None:
        super().__init__()
        self.scale, self.width = scale, width

        def empty(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(shape, dtype=torch.float32, device=device))

        self.frequency = empty(n_features, n_waves)
        self.phase = empty(n_features, n_waves)
        self.weight = empty(n_features, n_waves, width - 1)
        self.bias = empty(n_features, width - 1)

    def draw(self, generator: torch.Generator) -> None:
        """Draw the initial parameters.

        Parameters
        ----------
        generator : Generator
            Source of the draws.
        """
        with torch.no_grad():
            self.frequency.normal_(0, self.scale, generator=generator)
        n_waves = self.frequency.shape[1]
        uniform_(self.phase, 0.5, generator)
        uniform_(self.weight, n_waves**-0.5, generator)
        uniform_(self.bias, n_waves**-0.5, generator)

    def initial_scale(self) -> Tensor:
        """Give the relative size of the first weights that read the code.

        Returns
        -------
        scale : Tensor of shape (width,)
            One for the number and for the waves.
        """
        return torch.ones(self.width)

    def forward(self, X: Tensor) -> Tensor:
        """Encode rows.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_features)
            Scaled features.

        Returns
        -------
        encoded : Tensor of shape (n_samples, n_features, width)
            The number itself comes first.
        """
        angle = 2 * math.pi * (X[..., None] * self.frequency + self.phase)
        waves = torch.einsum("bfw,fwk->bfk", angle.cos(), self.weight)
        return torch.cat([X[..., None], waves + self.bias], -1)


class PiecewiseLinearEncoding(nn.Module):
    r"""Encode every number by itself and by how far it went through each of its bins.

    .. math:: x \mapsto \bigl(x,\ g\,e_1(x), \dots, g\,e_B(x)\bigr), \qquad
        e_b(x) = \operatorname{clip}\Bigl(\frac{x - l_b}{r_b - l_b}, 0, 1\Bigr), \quad
        g = \frac{2}{\sqrt B}

    A linear map of the code can be any function that is linear within every bin, so
    thresholds cost no depth. A number below the first edge or above the last goes on
    along its bin for one more width of it and then stops: the bin may be narrow, and
    what is beyond it was never seen. The factor lets a feature count as much in the
    gradients with many bins as with few.

    Parameters
    ----------
    n_features : int
        Number of features.
    n_bins : int, default=16
        Bins of each feature.
    device : str or device, default=None
        Where to put the edges.

    References
    ----------
    .. [1] Gorishniy, Rubachev, Babenko (2022). On embeddings for numerical features in
       tabular deep learning. NeurIPS.
    """

    edges: Tensor
    lines: Tensor

    def __init__(
        self, n_features: int, *, n_bins: int = 16, device: Device = None
    ) -> None:
        super().__init__()
        self.width = 1 + n_bins
        shape = (n_features, n_bins + 1)
        edges = torch.zeros(shape, dtype=torch.float32, device=device)
        self.register_buffer("edges", edges)
        # What forward needs follows from the edges, but not for free; without memory
        # only its shape matters, and would take longer to find than a prediction.
        lines = edges.new_empty((4, *shape)) if edges.is_meta else self._lines()
        self.register_buffer("lines", lines, persistent=False)
        self.register_load_state_dict_post_hook(_draw_lines)

    def draw(self, generator: torch.Generator) -> None:
        """Forget the edges: until they are set, the steps of the code are zero.

        Parameters
        ----------
        generator : Generator
            Not used: nothing is random here.
        """
        self.edges.zero_()
        _draw_lines(self)

    def set_edges(self, edges: Tensor) -> None:
        """Set the edges of the bins.

        Parameters
        ----------
        edges : Tensor of shape (n_features, n_bins + 1)
            Ascending in every row. Equal edges at the end stand for bins that the
            feature does not need; their code is zero.

        Raises
        ------
        ValueError
            If the shape is another, or an edge is not finite or below the one before.
        """
        if edges.shape != self.edges.shape:
            raise ValueError(
                f"edges must have shape {tuple(self.edges.shape)}, one row per feature "
                f"and one edge more than bins; got {tuple(edges.shape)}."
            )
        if not (edges.isfinite().all() and (edges.diff(dim=1) >= 0).all()):
            raise ValueError("edges must be finite and ascend along every row.")
        with torch.no_grad():
            self.edges.copy_(edges)
        _draw_lines(self)

    def initial_scale(self) -> Tensor:
        """Give the relative size of the first weights that read the code.

        Returns
        -------
        scale : Tensor of shape (width,)
            One for the number, zero for its steps: training starts from a linear map.
        """
        scale = torch.zeros(self.width)
        scale[0] = 1
        return scale

    def forward(self, X: Tensor) -> Tensor:
        """Encode rows.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_features)
            Scaled features.

        Returns
        -------
        encoded : Tensor of shape (n_samples, n_features, 1 + n_bins)
            The number itself comes first; every entry grows with it or stands still.
        """
        start, slope, low, high = self.lines
        # One temporary of this size; subtracting first keeps the digits of narrow bins.
        encoded = X[..., None] - start
        return encoded.mul_(slope).clamp_(low, high)

    def _lines(self) -> Tensor:
        left = self.edges[:, :-1]
        span = self.edges.diff(dim=1)
        is_bin = span > 0
        n_bins = is_bin.sum(1, keepdim=True).clamp(min=1).to(span)
        number = torch.arange(span.shape[1], device=span.device)
        gain = 2 / n_bins.sqrt() * is_bin
        low = -(number == 0).to(span)
        high = 1 + (number == n_bins - 1).to(span)
        slope = gain / torch.where(is_bin, span, 1)
        # The number itself is one more line, of slope one and without an end.
        pad = nn.functional.pad
        return torch.stack(
            [
                pad(left, (1, 0)),
                pad(slope, (1, 0), value=1.0),
                pad(gain * low, (1, 0), value=-math.inf),
                pad(gain * high, (1, 0), value=math.inf),
            ]
        )


def _draw_lines(encoding: PiecewiseLinearEncoding, _: object = None) -> None:
    encoding.lines = encoding._lines()


Encoding = LinearEncoding | PeriodicEncoding | PiecewiseLinearEncoding


def make_encoding(config: CRATEConfig, *, device: Device = None) -> Encoding:
    """Make the encoding of the numeric columns that a configuration names.

    Parameters
    ----------
    config : CRATEConfig
        Architecture.
    device : str or device, default=None
        Where to put the parameters.

    Returns
    -------
    encoding : Module
        Maps (n_samples, n_features) to (n_samples, n_features, ``encoding.width``).
    """
    if config.encoding == "periodic":
        return PeriodicEncoding(config.n_features, device=device)
    if config.encoding == "piecewise_linear":
        return PiecewiseLinearEncoding(
            config.n_features, n_bins=config.n_bins, device=device
        )
    return LinearEncoding()
