"""The steps of a white-box transformer layer that sparsify the tokens."""

import torch
from torch import Tensor, nn

from sklearn_whitebox.functional._sparsification import overcomplete_codes
from sklearn_whitebox.modules._crate_config import (
    CRATEConfig,
    Device,
    _drop,
    uniform_,
)

__all__ = [
    "CRATEConfig",
    "Device",
    "ISTAStep",
    "MLPStep",
    "OvercompleteStep",
    "_drop",
    "_linear",
    "uniform_",
]


def _linear(n_in: int, n_out: int, *, bias: bool, device: Device) -> nn.Linear:
    return nn.Linear(n_in, n_out, bias=bias, dtype=torch.float32, device=device)


class _ProximalStep(nn.Module):
    """Step size and weight of the one-norm, given or learnt."""

    def __init__(self, config: CRATEConfig, *, device: Device) -> None:
        super().__init__()
        self._initial = (config.step_size, config.sparsity)
        self.log_settings: nn.Parameter | None = None
        if config.learn_step:
            if min(self._initial) <= 0:
                raise ValueError(
                    f"learn_step=True needs step_size={config.step_size} and "
                    f"sparsity={config.sparsity} to start above zero."
                )
            # Logarithms keep both positive; step size first.
            self.log_settings = nn.Parameter(
                torch.empty(2, dtype=torch.float32, device=device)
            )

    @property
    def step_size(self) -> Tensor | float:
        """Step of the proximal step."""
        settings = self.log_settings
        return self._initial[0] if settings is None else settings[0].exp()

    @property
    def sparsity(self) -> Tensor | float:
        """Weight of the one-norm."""
        settings = self.log_settings
        return self._initial[1] if settings is None else settings[1].exp()

    def draw(self, generator: torch.Generator) -> None:
        """Set the initial settings, and draw the initial dictionaries.

        Parameters
        ----------
        generator : Generator
            Source of the draws.
        """
        if self.log_settings is not None:
            with torch.no_grad():
                self.log_settings.copy_(torch.tensor(self._initial).log())


class ISTAStep(_ProximalStep):
    """Sparsify tokens by one proximal step in a complete dictionary.

    The same as :func:`sparsification_step`, with fewer products.

    Parameters
    ----------
    config : CRATEConfig
        Architecture.
    device : str or device, default=None
        Where to put the parameters.
    """

    def __init__(self, config: CRATEConfig, *, device: Device = None) -> None:
        super().__init__(config, device=device)
        shape = (config.d_token, config.d_token)
        self.dictionary = nn.Parameter(
            torch.empty(shape, dtype=torch.float32, device=device)
        )

    def draw(self, generator: torch.Generator) -> None:
        """Draw the initial dictionary (Kaiming uniform).

        Parameters
        ----------
        generator : Generator
            Source of the draws.
        """
        super().draw(generator)
        uniform_(self.dictionary, (6 / self.dictionary.shape[1]) ** 0.5, generator)

    def forward(self, tokens: Tensor) -> Tensor:
        """Sparsify normalised tokens.

        Parameters
        ----------
        tokens : Tensor of shape (n_samples, n_tokens, d_token)
            Normalised tokens.

        Returns
        -------
        codes : Tensor of shape (n_samples, n_tokens, d_token)
            Non-negative; they replace the tokens.
        """
        # Before its relu the step Z + s (Z - Z Dᵀ) D - sλ is affine. With its matrix
        # made once, many tokens take one product instead of two, and three instead of
        # six with their gradients.
        dictionary, step_size = self.dictionary, self.step_size
        width = len(dictionary)
        identity = torch.eye(width, dtype=dictionary.dtype, device=dictionary.device)
        matrix = identity + step_size * (dictionary - dictionary.mT @ dictionary)
        bias = -step_size * self.sparsity * dictionary.new_ones(width)
        return nn.functional.linear(tokens, matrix.mT, bias).relu()


class OvercompleteStep(_ProximalStep):
    """Denoise tokens by sparse codes in an overcomplete dictionary (CRATE-α).

    Parameters
    ----------
    config : CRATEConfig
        Architecture.
    device : str or device, default=None
        Where to put the parameters.
    """

    def __init__(self, config: CRATEConfig, *, device: Device = None) -> None:
        super().__init__(config, device=device)
        if config.n_steps < 1:
            raise ValueError(f"n_steps={config.n_steps} must be at least 1.")
        self.n_steps = config.n_steps
        shape = (config.d_token, config.overcomplete * config.d_token)
        self.dictionary = nn.Parameter(
            torch.empty(shape, dtype=torch.float32, device=device)
        )
        self.decoder = nn.Parameter(
            torch.empty(shape, dtype=torch.float32, device=device)
        )

    def draw(self, generator: torch.Generator) -> None:
        """Draw the initial dictionaries (Kaiming uniform over the atoms).

        Parameters
        ----------
        generator : Generator
            Source of the draws.
        """
        super().draw(generator)
        # The fan-in of d would put the proximal step at the edge of divergence.
        bound = (6 / self.dictionary.shape[1]) ** 0.5
        uniform_(self.dictionary, bound, generator)
        uniform_(self.decoder, bound, generator)

    def codes(self, tokens: Tensor) -> Tensor:
        """Code normalised tokens.

        Parameters
        ----------
        tokens : Tensor of shape (n_samples, n_tokens, d_token)
            Normalised tokens.

        Returns
        -------
        codes : Tensor of shape (n_samples, n_tokens, overcomplete * d_token)
            Non-negative.
        """
        codes: Tensor = overcomplete_codes(
            tokens,
            self.dictionary,
            step_size=self.step_size,
            sparsity=self.sparsity,
            n_steps=self.n_steps,
        )
        return codes

    def forward(self, tokens: Tensor) -> Tensor:
        """Denoise normalised tokens.

        Parameters
        ----------
        tokens : Tensor of shape (n_samples, n_tokens, d_token)
            Normalised tokens.

        Returns
        -------
        change : Tensor of shape (n_samples, n_tokens, d_token)
            To be added to the tokens.
        """
        return self.codes(tokens) @ self.decoder.mT


class MLPStep(nn.Module):
    """Transform tokens by the perceptron of an ordinary transformer, for comparison.

    Parameters
    ----------
    config : CRATEConfig
        Architecture.
    device : str or device, default=None
        Where to put the parameters.
    """

    def __init__(self, config: CRATEConfig, *, device: Device = None) -> None:
        super().__init__()
        hidden = config.overcomplete * config.d_token
        self.widen = _linear(config.d_token, hidden, bias=True, device=device)
        self.narrow = _linear(hidden, config.d_token, bias=True, device=device)

    def forward(self, tokens: Tensor) -> Tensor:
        """Transform normalised tokens.

        Parameters
        ----------
        tokens : Tensor of shape (n_samples, n_tokens, d_token)
            Normalised tokens.

        Returns
        -------
        change : Tensor of shape (n_samples, n_tokens, d_token)
            To be added to the tokens.
        """
        change: Tensor = self.narrow(nn.functional.gelu(self.widen(tokens)))
        return change
