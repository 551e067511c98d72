"""One layer that codes sparsely and one that rebuilds, learnt together."""

import torch
from torch import Tensor, nn

from sklearn_whitebox.functional._prox import top_k_threshold


class SparseAutoencoderModule(nn.Module):
    r"""Code samples by one rectified linear layer, and rebuild them from atoms.

    .. math:: f(x) = \operatorname{relu}\bigl((x - b) U^\top + c\bigr), \qquad
       \hat x = f(x) D + b

    The encoder is one step of proximal gradient descent from zero on the non-negative
    lasso of :math:`x - b` with atoms D, with its matrix and thresholds free to be
    learnt; with `n_active`, the rectified values are projected on codes of that many
    non-zeros. The decoder is the dictionary itself.

    Parameters
    ----------
    decoder : Tensor of shape (n_components, n_features)
        Atoms D to start from, one per row; the encoder U starts as a copy.
    n_active : int, default=None
        Non-zeros of a code, at most; None leaves the number free.

    References
    ----------
    .. [1] Gao et al. (2025). Scaling and evaluating sparse autoencoders. ICLR.

    Examples
    --------
    >>> import torch
    >>> module = SparseAutoencoderModule(torch.eye(2), n_active=1)
    >>> module(torch.tensor([[3.0, 2.0]]))[0].detach()
    tensor([[3., 0.]])
    """

    def __init__(self, decoder: Tensor, *, n_active: int | None = None) -> None:
        super().__init__()
        k, d = decoder.shape
        if n_active is not None and not 1 <= n_active <= k:
            raise ValueError(
                f"n_active={n_active} must be between 1 and the {k} atoms of the "
                "decoder."
            )
        self.n_active = n_active
        self.encoder = nn.Parameter(decoder.clone())
        self.encoder_bias = nn.Parameter(decoder.new_zeros(k))
        self.decoder = nn.Parameter(decoder.clone())
        self.pre_bias = nn.Parameter(decoder.new_zeros(d))

    def forward(self, X: Tensor) -> tuple[Tensor, Tensor]:
        """Code samples and rebuild them.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_features)
            Samples x.

        Returns
        -------
        codes : Tensor of shape (n_samples, n_components)
            Non-negative codes f(x).
        rebuilt : Tensor of shape (n_samples, n_features)
            Samples made of the codes.
        """
        codes = self.activate(self.correlate(X))
        return codes, self.decode(codes)

    def correlate(self, X: Tensor) -> Tensor:
        """Compute what the activation sees, the gradient step of the layer.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        values : Tensor of shape (n_samples, n_components)
            Values of both signs.
        """
        bias = self.encoder_bias - self.pre_bias @ self.encoder.mT
        return torch.addmm(bias, X, self.encoder.mT)

    def activate(self, values: Tensor) -> Tensor:
        """Make values sparse and non-negative, the proximal part of the layer.

        Parameters
        ----------
        values : Tensor of shape (n_samples, n_components)
            Values, as `correlate` gives them.

        Returns
        -------
        codes : Tensor of shape (n_samples, n_components)
            Codes.
        """
        codes = values.relu()
        return codes if self.n_active is None else top_k_threshold(codes, self.n_active)

    def decode(self, codes: Tensor) -> Tensor:
        """Build samples from codes.

        Parameters
        ----------
        codes : Tensor of shape (n_samples, n_components)
            Codes.

        Returns
        -------
        rebuilt : Tensor of shape (n_samples, n_features)
            Codes times atoms, plus the bias b.
        """
        return torch.addmm(self.pre_bias, codes, self.decoder)
