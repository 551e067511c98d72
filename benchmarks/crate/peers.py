"""The layers that a CRATE is measured against, computed as their programs do.

``OriginalLayer`` takes the three products of the published sparse step and a softmax
attention whose queries, keys and values happen to be one tensor; ``ViTLayer`` is the
layer of an ordinary vision transformer. Both are written for this comparison.
"""

import torch
from torch import nn
from torch.nn import functional as F


class _Attention(nn.Module):
    def __init__(self, width, n_heads, n_roles):
        super().__init__()
        self.n_heads, self.n_roles = n_heads, n_roles
        self.project = nn.Linear(width, n_roles * width, bias=False)
        self.output = nn.Linear(width, width)

    def forward(self, x):
        n_samples, n_tokens, width = x.shape
        head_dim = width // self.n_heads
        roles = [
            part.reshape(n_samples, n_tokens, self.n_heads, head_dim).transpose(1, 2)
            for part in self.project(x).chunk(self.n_roles, -1)
        ]
        query, key, value = roles * 3 if self.n_roles == 1 else roles
        scores = torch.matmul(query, key.transpose(-1, -2)) * head_dim**-0.5
        mixed = torch.matmul(scores.softmax(-1), value)
        return self.output(mixed.transpose(1, 2).reshape(n_samples, n_tokens, width))


class OriginalLayer(nn.Module):
    """Attention in subspaces and a sparse step, with the products of the program."""

    def __init__(self, width, n_heads):
        super().__init__()
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = _Attention(width, n_heads, 1)
        self.dictionary = nn.Parameter(torch.empty(width, width))
        nn.init.kaiming_uniform_(self.dictionary)

    def forward(self, x):
        """Take one step."""
        x = self.attention(self.first(x)) + x
        x = self.second(x)
        decoded = F.linear(x, self.dictionary)
        twice = F.linear(decoded, self.dictionary.t())
        coded = F.linear(x, self.dictionary.t())
        return F.relu(x + 0.1 * (coded - twice) - 0.1 * 0.1)


class ViTLayer(nn.Module):
    """Attention and a perceptron four times as wide, each with a residual."""

    def __init__(self, width, n_heads):
        super().__init__()
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = _Attention(width, n_heads, 3)
        self.perceptron = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x):
        """Transform tokens."""
        x = x + self.attention(self.first(x))
        return x + self.perceptron(self.second(x))


class Classifier(nn.Module):
    """Patches, a class token, layers and a head, around either layer."""

    def __init__(self, make_layer, width, n_layers, *, side, patch_size, n_outputs):
        super().__init__()
        self.grid, self.patch_size = side // patch_size, patch_size
        patch_dim = patch_size**2
        self.embed = nn.Sequential(
            nn.LayerNorm(patch_dim), nn.Linear(patch_dim, width), nn.LayerNorm(width)
        )
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.position = nn.Parameter(torch.zeros(1, self.grid**2 + 1, width))
        self.layers = nn.ModuleList(make_layer() for _ in range(n_layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, n_outputs)

    def forward(self, images):
        """Give the logits."""
        size = self.patch_size
        cut = images.reshape(-1, self.grid, size, self.grid, size).transpose(2, 3)
        tokens = self.embed(cut.reshape(len(images), self.grid**2, size**2))
        start = self.class_token.expand(len(images), -1, -1)
        tokens = torch.cat([start, tokens], 1) + self.position
        for layer in self.layers:
            tokens = layer(tokens)
        return self.head(self.norm(tokens[:, 0]))
