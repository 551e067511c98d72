"""The layer that maps sparse tokens back, of the masked autoencoder."""

import torch
from torch import Tensor, nn

from sklearn_whitebox.modules._crate_attention import SubspaceAttention
from sklearn_whitebox.modules._crate_config import CRATEConfig, Device, uniform_
from sklearn_whitebox.modules._crate_layer import make_norm
from sklearn_whitebox.modules._crate_steps import _linear


class CRATEDecoderLayer(nn.Module):
    r"""Undo one step of sparse rate reduction: spread sparse tokens, then decompress.

    .. math:: H = \operatorname{LN}(Z) W^\top, \qquad
       Z' = H - \operatorname{MSSA}(\operatorname{LN}(H))

    A dictionary takes codes back to tokens, and the step of the compression is taken
    the other way round [1]_. There is no residual around the dictionary.

    Parameters
    ----------
    config : CRATEConfig
        Architecture.
    device : str or device, default=None
        Where to put the parameters.

    References
    ----------
    .. [1] Pai et al. (2024). Masked completion via structured diffusion with white-box
       transformers. ICLR.
    """

    def __init__(self, config: CRATEConfig, *, device: Device = None) -> None:
        super().__init__()
        self.spread_norm = make_norm(config, device)
        self.spread = _linear(config.d_token, config.d_token, bias=False, device=device)
        self.compress_norm = make_norm(config, device)
        self.compress = SubspaceAttention(config, device=device)

    def draw(self, generator: torch.Generator) -> None:
        """Draw the initial weights, in place (Xavier uniform, no biases).

        Parameters
        ----------
        generator : Generator
            Source of the draws.
        """
        for part in self.modules():
            if isinstance(part, nn.Linear):
                bound = (6 / (part.in_features + part.out_features)) ** 0.5
                uniform_(part.weight, bound, generator)
                if part.bias is not None:
                    nn.init.zeros_(part.bias)
            elif isinstance(part, nn.LayerNorm):
                nn.init.ones_(part.weight)
                nn.init.zeros_(part.bias)
        self.compress.draw(generator)

    def forward(
        self, tokens: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Take one step.

        Parameters
        ----------
        tokens : Tensor of shape (n_samples, n_tokens, d_token)
            Tokens.
        generator : Generator, default=None
            Source of dropout; None drops nothing.

        Returns
        -------
        tokens : Tensor of shape (n_samples, n_tokens, d_token)
            Tokens after the step.
        """
        spread = self.spread(self.spread_norm(tokens))
        change: Tensor = self.compress(self.compress_norm(spread), generator)
        return spread - change
