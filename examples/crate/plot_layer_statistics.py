"""
Is attention a step down the coding rate?
=========================================

The layers of :class:`~sklearn_whitebox.CRATEClassifier` are derived as steps of sparse rate reduction:
attention is to lower the rate of the tokens in the subspaces of its heads, the step after it to make
them sparse. We train one on the digits and measure what its layers really do.
"""

# %%
# Measure the layers of a trained network
# ---------------------------------------
#
# All rates are those of tokens of unit length, before and after the attention of each layer.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sklearn_whitebox import CRATEClassifier
from sklearn_whitebox.display import LayerStatisticsDisplay
from sklearn_whitebox.functional import (
    merge_heads,
    split_heads,
    subspace_coding_rate,
    subspace_coding_rate_gradient,
    subspace_self_attention,
)

X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(X, y, test_size=0.3, stratify=y, random_state=0)
model = CRATEClassifier(
    n_layers=4,
    d_token=48,
    image_shape=(8, 8),
    patch_size=2,
    max_iter=20,
    random_state=0,
)
model.fit(X, y)
print(f"accuracy on unseen digits: {model.score(X_test, y_test):.3f}")
display = LayerStatisticsDisplay.from_estimator(model, X_test)
plt.show()

# %%
# Did training teach them that?
# -----------------------------
#
# The same network with a step size of next to nothing, that is, with random weights.
untrained = CRATEClassifier(**model.get_params()).set_params(
    max_iter=1, learning_rate=1e-9
)
untrained.fit(X, y)
change = {
    "trained": model.layer_statistics(X_test)["coding_rate_delta"],
    "random weights": untrained.layer_statistics(X_test)["coding_rate_delta"],
}
layers = np.arange(4)
fig, ax = plt.subplots(figsize=(4.5, 3.2), layout="constrained")
for k, (name, values) in enumerate(change.items()):
    ax.bar(layers + 0.4 * k - 0.2, 100 * values, 0.4, label=name)
ax.set(xlabel="layer", xticks=layers, ylabel="change of the rate (per cent)")
ax.axhline(0, color="black", linewidth=0.8)
ax.legend(fontsize=8)
plt.show()

# %%
# Take the step of the theory by hand
# -----------------------------------
#
# The theory has orthonormal bases and maps the attention back by their transposes; the network learns
# a way back of its own. We go a tenth of either way from the tokens that enter a layer, and compare the
# attention with the exact gradient of the rate.
weights = {name: array.astype(float) for name, array in model.weights_.items()}


def rate(tokens, bases):
    return subspace_coding_rate(tokens, bases, distortion=0.5).mean()


def cosine(first, second):
    return (first * second).sum() / np.sqrt((first**2).sum() * (second**2).sum())


cosines, changes = [], []
for layer in range(4):
    prefix = f"layers.{layer}.compress"
    Z = model.token_features(X_test[:100], layer=layer - 1 if layer else None)
    Z = Z - Z.mean(-1, keepdims=True)
    Z = Z / np.sqrt(Z.var(-1, keepdims=True) + 1e-5)
    Z = Z * weights[f"{prefix}_norm.weight"] + weights[f"{prefix}_norm.bias"]
    projection = weights[f"{prefix}.projection.weight"].T
    parts = np.split(projection, 4, axis=1)
    bases = np.stack([np.linalg.qr(part)[0] for part in parts])
    U = np.concatenate(bases, axis=1)
    theory = merge_heads(subspace_self_attention(split_heads(Z @ U, 4))) @ U.T
    heads = subspace_self_attention(split_heads(Z @ projection, 4))
    learnt = merge_heads(heads) @ weights[f"{prefix}.output.weight"].T
    learnt = learnt + weights[f"{prefix}.output.bias"]
    descent = -subspace_coding_rate_gradient(Z, bases, distortion=0.5)
    cosines.append([cosine(descent, step) for step in (theory, theory - Z, learnt)])
    before, found = rate(Z, bases), []
    for step in (theory, learnt):
        moved = Z + 0.1 * step
        lengths = np.linalg.norm(Z, axis=-1) / np.linalg.norm(moved, axis=-1)
        found += [rate(moved, bases), rate(moved * lengths[..., None], bases)]
    changes.append(100 * (np.array(found) / before - 1))
cosines, changes = np.array(cosines), np.array(changes)

fig, axes = plt.subplots(1, 2, figsize=(8.5, 3.4), layout="constrained")
labels = ["theory", "theory, less the token", "learnt"]
for k, label in enumerate(labels):
    axes[0].bar(layers + 0.27 * (k - 1), cosines[:, k], 0.27, label=label)
axes[0].set(ylabel="cosine with the descent of the rate", ylim=(-1, 1))
labels = ["theory, as it is", "theory, at equal length"]
labels += ["learnt, as it is", "learnt, at equal length"]
colours = ["C0", "lightblue", "C2", "lightgreen"]
for k, label in enumerate(labels):
    axes[1].bar(
        layers + 0.2 * (k - 1.5), changes[:, k], 0.2, color=colours[k], label=label
    )
axes[1].set(ylabel="change of the rate (per cent)", ylim=(-1.5, 14))
for ax in axes:
    ax.axhline(0, color="black", linewidth=0.8)
    ax.set(xlabel="layer", xticks=layers)
    ax.legend(fontsize=8)
plt.show()

# %%
# The attention of this network does compress, most in the last layer, and each sparse step lowers its
# objective and leaves more than half of the entries exactly zero. But the attention does not compress
# because it is attention: with random weights it hardly changes the rate, and the very step of the theory,
# taken in the subspaces of the trained network, raises the rate, in most layers even at equal length. What
# compression there is, training has put into the way back.
