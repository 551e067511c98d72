"""Transformers for images from the parts of the package, trained by its loop.

A vision transformer takes the place of CRATE's blocks by ordinary ones: attention with
queries, keys and values of their own, and a GELU perceptron. Tokeniser, positions,
class token, head, initial weights, optimiser, schedule, augmentation and dropout are
those of CRATE, so that what differs is the blocks.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from sklearn_whitebox.modules import CRATE, CRATEConfig
from sklearn_whitebox.modules._augment import AUGMENTATIONS, augment_images
from sklearn_whitebox.modules._crate_config import _drop, uniform_
from sklearn_whitebox.modules._crate_steps import MLPStep
from sklearn_whitebox.modules._image_tokens import PatchTokens
from sklearn_whitebox.solvers._train import TrainSettings, train


class Attention(nn.Module):
    """Multi-head attention with queries, keys and values of their own."""

    def __init__(self, config):
        super().__init__()
        width = config.d_token
        self.n_heads, self.dropout = config.n_heads, config.dropout
        self.qkv = nn.Linear(width, 3 * width, bias=False, device="meta")
        self.output = nn.Linear(width, width, device="meta")

    def forward(self, tokens, generator, n_queries):
        """Mix normalised tokens; give the first so many."""
        parts = self.qkv(tokens).unflatten(-1, (3, self.n_heads, -1))
        queries, keys, values = parts.permute(2, 0, 3, 1, 4)
        queries = queries[:, :, :n_queries]
        mixed = nn.functional.scaled_dot_product_attention(queries, keys, values)
        return _drop(self.output(mixed.transpose(1, 2).flatten(2)), self.dropout,
                     generator)  # fmt: skip


class Block(nn.Module):
    """Pre-norm attention and perceptron, each added to the tokens."""

    def __init__(self, config):
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.d_token, device="meta")
        self.attention = Attention(config)
        self.perceptron_norm = nn.LayerNorm(config.d_token, device="meta")
        self.perceptron = MLPStep(config, device="meta")

    def forward(self, tokens, generator, n_queries):
        """Transform tokens; give the first so many."""
        change = self.attention(self.attention_norm(tokens), generator, n_queries)
        half = tokens[:, :n_queries] + change
        return half + self.perceptron(self.perceptron_norm(half))


class ViT(nn.Module):
    """Vision transformer with the tokeniser and the head of CRATE."""

    def __init__(self, config, *, generator):
        super().__init__()
        self.config = config
        self.tokens = PatchTokens(config, device="meta")
        width = config.d_token
        self.class_token, n_tokens = None, self.tokens.n_tokens
        if config.pool == "class":
            self.class_token = nn.Parameter(torch.empty(1, 1, width, device="meta"))
            n_tokens += 1
        self.position = nn.Parameter(torch.empty(1, n_tokens, width, device="meta"))
        self.layers = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.norm = nn.LayerNorm(width, device="meta")
        self.head = nn.Linear(width, config.n_outputs, device="meta")
        self.to_empty(device="cpu")
        self._draw(generator)

    def forward(self, X, generator=None):
        """Logits of the classes."""
        tokens = self.tokens(X)
        if self.config.pool == "class":
            start = self.class_token.expand(len(tokens), -1, -1)
            tokens = torch.cat([start, tokens], 1)
        tokens = tokens + self.position
        last = len(self.layers) - 1 if self.config.pool == "class" else -1
        for number, layer in enumerate(self.layers):
            tokens = layer(tokens, generator, 1 if number == last else None)
        pooled = tokens[:, 0] if self.config.pool == "class" else tokens.mean(1)
        return self.head(self.norm(pooled))

    def _draw(self, generator):
        for part in self.modules():
            if isinstance(part, nn.Linear):
                bound = part.in_features**-0.5
                uniform_(part.weight, bound, generator)
                if part.bias is not None:
                    uniform_(part.bias, bound, generator)
            elif isinstance(part, nn.LayerNorm):
                nn.init.ones_(part.weight)
                nn.init.zeros_(part.bias)
        self.tokens.draw(generator)
        with torch.no_grad():
            std = self.config.table_std
            if self.class_token is not None:
                self.class_token.normal_(0, std, generator=generator)
            self.position.normal_(0, std, generator=generator)


@dataclass
class Recipe:
    """How a network is trained."""

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float = 1e-2
    label_smoothing: float = 0.1
    augment: str | None = None


class NetworkClassifier:
    """A network of one of the two kinds behind the interface of a classifier."""

    def __init__(self, kind, settings, recipe, *, seed=0, max_parameters=None):
        self.kind, self.settings, self.recipe = kind, settings, recipe
        self.seed, self.max_parameters = seed, max_parameters

    def fit(self, X, y):
        """Train on images of one channel scale."""
        generator = torch.Generator().manual_seed(self.seed)
        self.classes_, labels = np.unique(y, return_inverse=True)
        self._mean, self._spread = float(X.mean()), float(X.std())
        self.module_ = self._build(len(self.classes_), generator)
        self.n_parameters_ = count(self.module_)
        images, labels = self._scaled(X), torch.from_numpy(labels)
        recipe, shape = self.recipe, self.settings["image_shape"]
        n_batches = math.ceil(len(X) / recipe.batch_size)

        def loss(rows):
            batch = images[rows]
            if recipe.augment:
                batch = augment_images(
                    batch.reshape(-1, *shape),
                    generator,
                    **AUGMENTATIONS[recipe.augment],
                ).flatten(1)
            return nn.functional.cross_entropy(
                self.module_(batch, generator),
                labels[rows],
                label_smoothing=recipe.label_smoothing,
            )

        def batches(_):
            return torch.randperm(len(X), generator=generator).tensor_split(n_batches)

        train(
            self.module_,
            loss,
            batches,
            TrainSettings(
                learning_rate=recipe.learning_rate,
                max_epochs=recipe.epochs,
                steps_per_epoch=n_batches,
                weight_decay=recipe.weight_decay,
            ),
            decayed=CRATE.is_decayed,
        )
        return self

    def predict_proba(self, X):
        """Probabilities of the classes."""
        with torch.no_grad():
            parts = [self.module_(part) for part in self._scaled(X).split(512)]
        return torch.cat(parts).softmax(1).numpy()

    def _scaled(self, X):
        return torch.from_numpy(
            ((X - self._mean) / self._spread).astype(np.float32, copy=False)
        )

    def _build(self, n_classes, generator):
        make = {"crate": CRATE, "vit": ViT}[self.kind]
        settings = {"tokens": "patch", "n_outputs": n_classes, **self.settings}
        if self.max_parameters is None:
            return make(CRATEConfig(**settings), generator=generator)
        step, best = settings.get("n_heads", 4), None
        for width in range(step, 40 * step, step):
            config = CRATEConfig(**{**settings, "d_token": width})
            module = make(config, generator=torch.Generator())
            if count(module) > self.max_parameters:
                break
            best = config
        return make(best, generator=generator)


def count(module):
    """Return the number of weights."""
    return sum(parameter.numel() for parameter in module.parameters())
