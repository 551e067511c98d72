"""
What does each layer of a ReduNet do?
=====================================

:class:`~sklearn_whitebox.ReduNetClassifier` is built forwards, without back-propagation: each layer
is one step up the rate reduction of what enters it. So it can be watched at work, first on points
of a sphere, where there is nothing to hide, then on images of digits.
"""

# %%
# Three clusters on the sphere
# ----------------------------
#
# Points scatter around three directions that are far from orthogonal. New points, which no layer has
# seen, are sent through the network.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier

from sklearn_whitebox import ReduNetClassifier

means = np.array([[1.0, 0.35, 0.35], [0.35, 1.0, 0.35], [0.35, 0.35, 1.0]])


def draw(n_samples, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n_samples)
    return means[labels] + 0.15 * rng.standard_normal((n_samples, 3)), labels


X, y = draw(600, seed=0)
X_new, y_new = draw(300, seed=1)
shown = [0, 2, 5, 30]
fig = plt.figure(figsize=(11, 3.4), layout="constrained")
for place, n_layers in enumerate(shown, start=1):
    Z = X_new / np.linalg.norm(X_new, axis=1, keepdims=True)
    if n_layers:
        Z = ReduNetClassifier(n_layers, lift=None).fit(X, y).transform(X_new)
    ax = fig.add_subplot(1, 4, place, projection="3d")
    for axis in np.eye(3):
        ax.plot(*np.stack([0 * axis, 1.1 * axis], axis=1), color="0.6", lw=1)
    for k in range(3):
        ax.scatter(*Z[y_new == k].T, color=f"C{k}", s=6)
    ax.set_title(f"after {n_layers} layers" if n_layers else "input")
    ax.set(xlim=(-0.4, 1.1), ylim=(-0.4, 1.1), zlim=(-0.4, 1.1))
    ax.set(xticks=[], yticks=[], zticks=[])
    ax.view_init(25, 40)
plt.show()

# %%
# Thirty layers on digits
# -----------------------
#
# ``layer_statistics`` measures any samples, here the held-out ones, after every layer.
X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(X, y, test_size=0.3, stratify=y, random_state=0)
net = ReduNetClassifier(30, lift=None).fit(X, y)
seen, held_out = net.layer_statistics(X, y), net.layer_statistics(X_test, y_test)

depths = [1, 2, 4, 8, 15, 30]
scores = {"5 nearest neighbours": [], "logistic regression": []}
heads = [KNeighborsClassifier(5), LogisticRegression(max_iter=300)]
for depth in [0, *depths]:
    Z, Z_test = X / np.linalg.norm(X, axis=1)[:, None], X_test
    Z_test = Z_test / np.linalg.norm(Z_test, axis=1)[:, None]
    if depth:
        part = ReduNetClassifier(depth, lift=None).fit(X, y)
        Z, Z_test = part.transform(X), part.transform(X_test)
    for values, head in zip(scores.values(), heads, strict=True):
        values.append(head.fit(Z, y).score(Z_test, y_test))

fig, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
for name, statistics in {"training": seen, "held out": held_out}.items():
    axes[0].plot(statistics["coding_rate"], "--", label=f"all, {name}")
    color = axes[0].lines[-1].get_color()
    axes[0].plot(
        statistics["conditional_coding_rate"],
        ":",
        color=color,
        label=f"within classes, {name}",
    )
    axes[0].plot(statistics["rate_reduction"], color=color, label=f"reduction, {name}")
axes[0].set(xlabel="layer", ylabel="nats per sample", title="rates")
axes[0].set_ylim(0, 68)
axes[0].legend(fontsize=8, ncols=2, loc="upper left")
for name, values in scores.items():
    axes[1].plot([0, *depths], values, "o-", label=name)
axes[1].set(xlabel="layer", ylabel="accuracy on held-out digits", title="use of it")
axes[1].legend()
plt.show()

# %%
# Held-out digits before and after
# --------------------------------
#
# Absolute cosines between held-out digits, sorted by class.
order = np.argsort(y_test, kind="stable")
fig, axes = plt.subplots(1, 2, figsize=(8.6, 4.2), layout="constrained")
panels = {"input": X_test, "after 30 layers": net.transform(X_test)}
for ax, (name, Z) in zip(axes, panels.items(), strict=True):
    Z = Z[order] / np.linalg.norm(Z[order], axis=1, keepdims=True)
    image = ax.imshow(np.abs(Z @ Z.T), cmap="magma", vmin=0, vmax=1)
    ax.set(title=name, xlabel="held-out digit", ylabel="held-out digit")
fig.colorbar(image, ax=axes, label="|cosine|", shrink=0.8)
plt.show()

# %%
# The rate of all digits grows and that within the classes does not, so what grows are the angles
# between classes. Held-out digits follow the training ones all the way. Their accuracy is settled
# after a few layers: what the others do is to pull the classes apart.
