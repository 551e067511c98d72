"""
When does attention by second moments pay?
==========================================

A layer of :class:`~sklearn_whitebox.CRATEClassifier` can compress its tokens by comparing each with all
others (``attention="mssa"``), or by the second moments of their coordinates alone (``"tssa"``), at a
cost linear in their number. We measure what either costs, and what it is worth on images cut finer and
finer.
"""

# %%
# Cost of a step
# --------------
#
# One layer, forwards and backwards, for rows of more and more tokens of width 64.
import time

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sklearn_whitebox import CRATEClassifier
from sklearn_whitebox.modules import CRATEConfig, CRATELayer

threads = torch.get_num_threads()
torch.set_num_threads(1)
lengths = [64, 128, 256, 512, 1024, 2048]
names = {"mssa": "all pairs (mssa)", "tssa": "second moments (tssa)"}
generator = torch.Generator().manual_seed(0)
layers = {}
for attention in names:
    config = CRATEConfig(2, "dense", n_features=1, attention=attention)
    layers[attention] = CRATELayer(config)
    for parameter in layers[attention].parameters():
        torch.nn.init.uniform_(parameter, -0.1, 0.1, generator=generator)


def seconds(layer, tokens):
    start = time.perf_counter()
    layer(tokens).square().sum().backward()
    return time.perf_counter() - start


costs = {attention: [] for attention in names}
for length in lengths:
    tokens = torch.randn(1, length, 64, generator=generator)
    # Taken in turns, and the least of several, so that a busy machine does not matter.
    n_rounds = max(6, 4000 // length)
    rounds = [[seconds(layers[a], tokens) for a in names] for _ in range(n_rounds)]
    for attention, cost in zip(names, np.min(rounds, axis=0), strict=True):
        costs[attention].append(1000 * cost)
torch.set_num_threads(threads)

# %%
# Worth on images
# ---------------
#
# Digits of 8 x 8 pixels, cut into 4, 16 or 64 patches, all trained alike.
X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(
    X, y, train_size=600, stratify=y, random_state=0
)
accuracy = {attention: [] for attention in names}
patches = [4, 2, 1]
for attention in names:
    for patch_size in patches:
        model = CRATEClassifier(
            n_layers=2,
            d_token=32,
            attention=attention,
            image_shape=(8, 8),
            patch_size=patch_size,
            stem=False,
            max_iter=15,
            random_state=0,
        )
        accuracy[attention].append(model.fit(X, y).score(X_test, y_test))

fig, axes = plt.subplots(1, 2, figsize=(8.5, 3.4), layout="constrained")
for k, (attention, name) in enumerate(names.items()):
    axes[0].loglog(lengths, costs[attention], "o-", color=f"C{k}", label=name)
    numbers = [(8 // patch_size) ** 2 for patch_size in patches]
    axes[1].semilogx(numbers, accuracy[attention], "o-", color=f"C{k}", label=name)
axes[0].set(xlabel="tokens", ylabel="step of a layer (ms)")
axes[1].set(xlabel="patches", ylabel="accuracy on unseen digits", xticks=numbers)
axes[1].set_xticklabels(numbers)
axes[1].minorticks_off()
for ax in axes:
    ax.legend(fontsize=8)
plt.show()
for attention, name in names.items():
    growth = np.log(costs[attention][-1] / costs[attention][-3]) / np.log(4)
    print(f"{name}: cost grows as n^{growth:.1f}, accuracy {accuracy[attention]}")

# %%
# Up to about a hundred tokens the choice is free; with two thousand, second moments cost a small part of
# what all pairs do, whose cost quadruples with every doubling. On whole quarters of a digit they are as
# good. The finer the cut, the less each token says by itself: both variants, trained alike and briefly,
# lose by it, second moments more, since they never compare one patch with another. They pay where
# tokens are many and full, not where a picture is cut too small.
