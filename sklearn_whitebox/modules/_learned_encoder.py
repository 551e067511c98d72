"""Unrolled proximal gradient descent on the lasso, with learnt weights."""

from collections import deque
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from sklearn_whitebox.functional._analytic_weights import analytic_weights
from sklearn_whitebox.functional._prox import soft_threshold

FORMS = ("coupled", "free", "analytic")
# Logarithms are learnt in this unit: at one learning rate for all weights, step sizes
# and thresholds would else hardly move while the matrices do.
_PACE = 6.0
# Penalty of the analytic weights: without one, directions that atoms hardly span get
# weights so large that only tiny steps are stable.
_RIDGE = 1.0


class UnrolledEncoder(nn.Module):
    r"""Code samples by a fixed number of learnt proximal gradient steps.

    Layer l is one step of iterative soft-thresholding on
    :math:`\tfrac12\|x - zD\|^2 + \alpha\|z\|_1`, started at zero, in which the matrix
    that reads the residual and the thresholds are free to be learnt:

    - ``"coupled"``: :math:`z \leftarrow S_{\theta_l}(z + (x - zD) W_l^\top)`. The code
      is compared with the sample through D itself, which convergence asks for [2]_.
    - ``"free"``: :math:`z \leftarrow S_{\theta_l}(x U_l^\top + z V_l^\top)`, the first
      form [1]_, in which nothing ties the two maps to D.
    - ``"analytic"``: :math:`z \leftarrow S_{\theta_l}(z + \gamma_l (x - zD) W^\top)`
      with W from :func:`~sklearn_whitebox.functional.analytic_weights` and two numbers
      a layer to learn [3]_.

    A new encoder of the first two forms takes exactly the steps of iterative
    soft-thresholding: :math:`W_l = U_l = D/L`, :math:`V_l = I - DD^\top/L`,
    :math:`\theta_l = \alpha/L` with :math:`L = \|DD^\top\|_2`.

    Parameters
    ----------
    dictionary : Tensor of shape (n_components, n_features)
        Atoms D, one per row. Not learnt, and not part of the state.
    alpha : float, default=1.0
        Positive weight of the ℓ1 norm, from which the thresholds start.
    n_layers : int, default=16
        Number of steps.
    form : {"coupled", "free", "analytic"}, default="coupled"
        What is learnt in a layer.
    positive : bool, default=False
        Whether codes must not be negative.

    References
    ----------
    .. [1] Gregor, LeCun (2010). Learning fast approximations of sparse coding. ICML.
    .. [2] Chen, Liu, Wang, Yin (2018). Theoretical linear convergence of unfolded ISTA
       and its practical weights and thresholds. NeurIPS.
    .. [3] Liu, Chen, Wang, Yin (2019). ALISTA: Analytic weights are as good as learned
       weights in LISTA. ICLR.

    Examples
    --------
    >>> import torch
    >>> encoder = UnrolledEncoder(torch.eye(2), alpha=1.0, n_layers=1)
    >>> encoder(torch.tensor([[3.0, 0.5]])).detach()
    tensor([[2., 0.]])
    """

    dictionary: Tensor
    residual_weights: Tensor

    def __init__(
        self,
        dictionary: Tensor,
        *,
        alpha: float = 1.0,
        n_layers: int = 16,
        form: str = "coupled",
        positive: bool = False,
    ) -> None:
        super().__init__()
        if form not in FORMS:
            raise ValueError(f"form={form!r} must be one of {FORMS}.")
        if n_layers < 1:
            raise ValueError(f"n_layers={n_layers} must be at least 1.")
        if not alpha > 0:
            raise ValueError(f"alpha={alpha} must be positive.")
        self.form = form
        self.positive = positive
        self.n_layers = n_layers
        self.register_buffer("dictionary", dictionary, persistent=False)
        if form == "analytic":
            self._start_analytic(dictionary, alpha)
        else:
            self._start_as_ista(dictionary, alpha)

    def _start_as_ista(self, D: Tensor, alpha: float) -> None:
        k = len(D)
        step = 1 / _squared_norm(D)
        steps = (step * D).repeat(self.n_layers, 1, 1)  # (T, k, d)
        if self.form == "coupled":
            self.weights = nn.Parameter(steps)
        else:
            self.input_weights = nn.Parameter(steps)
            identity = torch.eye(k, dtype=D.dtype, device=D.device)
            # The code before the first layer is zero.
            self.code_weights = nn.Parameter(
                (identity - step * (D @ D.mT)).repeat(self.n_layers - 1, 1, 1)
            )
        self.log_thresholds = nn.Parameter(
            (torch.log(step * alpha) / _PACE).repeat(self.n_layers, k)
        )

    def _start_analytic(self, D: Tensor, alpha: float) -> None:
        # Second moments square the condition number.
        W = analytic_weights(D.double(), ridge=_RIDGE).to(D.dtype)
        self.register_buffer("residual_weights", W)
        step = 1 / torch.linalg.matrix_norm(W @ D.mT, 2)
        self.log_steps = nn.Parameter((torch.log(step) / _PACE).repeat(self.n_layers))
        self.log_thresholds = nn.Parameter(
            (torch.log(step * alpha) / _PACE).repeat(self.n_layers)
        )

    def thresholds(self) -> Tensor:
        """Give the thresholds of all layers.

        They are kept as logarithms, over six, which makes them positive, and learning
        them independent of the unit of the samples.

        Returns
        -------
        thresholds : Tensor of shape (n_layers, n_components) or (n_layers,)
            Positive; one number a layer for the analytic form.
        """
        return (_PACE * self.log_thresholds).exp()

    def forward(self, X: Tensor) -> Tensor:
        """Code samples.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        codes : Tensor of shape (n_samples, n_components)
            Codes after the last layer.
        """
        return deque(self._steps(X), maxlen=1)[0]

    def trajectory(self, X: Tensor) -> list[Tensor]:
        """Code samples, and keep the codes after every layer.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        codes : list of Tensor of shape (n_samples, n_components)
            One for each layer.
        """
        return list(self._steps(X))

    def _steps(self, X: Tensor) -> Iterator[Tensor]:
        codes: Tensor | None = None
        for layer, threshold in enumerate(self.thresholds()):
            values = self._descend(X, codes, layer)
            codes = soft_threshold(values, threshold, positive=self.positive)
            yield codes

    def _descend(self, X: Tensor, Z: Tensor | None, layer: int) -> Tensor:
        """Take the gradient part of a step; None stands for a code of zeros."""
        if self.form == "free":
            read = X @ self.input_weights[layer].mT
            return read if Z is None else read + Z @ self.code_weights[layer - 1].mT
        residual = X if Z is None else X - Z @ self.dictionary
        if self.form == "coupled":
            step = residual @ self.weights[layer].mT
        else:
            step = residual @ self.residual_weights.mT
            step = step * (_PACE * self.log_steps[layer]).exp()
        return step if Z is None else Z + step


def _squared_norm(D: Tensor) -> Tensor:
    k, d = D.shape
    gram = D @ D.mT if k <= d else D.mT @ D
    return torch.linalg.eigvalsh(gram).amax()
