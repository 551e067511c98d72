"""
Which subspaces are close?
==========================

A class that fills a subspace is told apart from another by what that other subspace lacks.
Two classes between small principal angles share directions, and will be confused. Here for
handwritten digits: their pixels, and features that were trained to have orthogonal classes.
"""

# %%
# Angles between the digits
# -------------------------
# For each class the directions that hold 90 % of its energy, and for each pair of classes the
# mean of the angles between them.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import confusion_matrix
from sklearn.model_selection import train_test_split

from sklearn_whitebox import NearestSubspaceClassifier, RateReductionEmbedding
from sklearn_whitebox.display import (
    ClassSpectraDisplay,
    EmbeddingDisplay,
    PrincipalAngleDisplay,
)

X, y = load_digits(return_X_y=True)
X = X / 16
X, X_test, y, y_test = train_test_split(X, y, test_size=0.5, stratify=y, random_state=0)
embedding = RateReductionEmbedding(32, max_iter=40, random_state=0).fit(X, y)
Z, Z_test = embedding.transform(X), embedding.transform(X_test)

fig, axes = plt.subplots(1, 2, figsize=(9, 4.3), layout="constrained")
for ax, features, name in (
    (axes[0], X, "pixels"),
    (axes[1], Z_test, "features, unseen rows"),
):
    labels = y if features is X else y_test
    PrincipalAngleDisplay.from_predictions(features, labels, statistic="mean", ax=ax)
    ax.set_title(f"Mean angle: {name}")
plt.show()

# %%
# How many directions does a class need?
# --------------------------------------
# Pixels of a digit spread over dozens of directions, and all digits share the first. The
# features of a class fill a few, and those of different classes add up.
fig, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained", sharey=True)
for ax, features, labels, name in (
    (axes[0], X, y, "pixels"),
    (axes[1], Z_test, y_test, "features, unseen rows"),
):
    ClassSpectraDisplay.from_predictions(
        features, labels, cumulative=True, n_values=32, ax=ax
    )
    ax.set_title(name)
plt.show()

# %%
# In the plane
# ------------
# Two orthogonal classes can be seen in a plane, but a third one has no room: in the right
# figure the digit 4 is orthogonal to 0 and 1, its direction points out of the plane, and what
# is left of it gathers at the origin. That is why the angles above are the better reading.
some = np.isin(y_test, [0, 1, 4])
fig, axes = plt.subplots(1, 2, figsize=(9, 4.3), layout="constrained")
EmbeddingDisplay.from_predictions(
    X_test[some], y_test[some], ax=axes[0], title="pixels"
)
EmbeddingDisplay.from_predictions(
    Z_test[some], y_test[some], ax=axes[1], title="features, unseen rows"
)
plt.show()

# %%
# Are close classes the confused ones?
# ------------------------------------
# A classifier that looks for the nearest subspace can only confuse what lies together.
model = NearestSubspaceClassifier(3).fit(X, y)
angles = PrincipalAngleDisplay.from_estimator(model, statistic="mean").angles
plt.close()
confusions = confusion_matrix(y_test, model.predict(X_test))
pairs = np.triu_indices(10, 1)
counts = (confusions + confusions.T)[pairs]

near = angles[pairs] < np.median(angles[pairs])
share = counts[near].sum() / counts.sum()
print(f"{share:.0%} of the confusions are in the half of the pairs with smaller angles")

fig, ax = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
ax.scatter(angles[pairs], counts, s=18)
most = [pair for pair in zip(*pairs, counts, strict=True) if pair[2] >= 4]
most.sort(key=lambda pair: (pair[2], angles[pair[:2]]))
for number, (i, j, count) in enumerate(most):
    # Neighbours of equal height have their names on either side.
    side = "left" if number % 2 else "right"
    place = angles[i, j] + (0.4 if side == "left" else -0.4)
    ax.text(place, count, f"{i} and {j}", fontsize=9, ha=side, va="center")
ax.set(xlabel="mean principal angle (degrees)", ylabel="unseen rows confused")
ax.margins(x=0.15)
ax.grid(visible=True, alpha=0.3)
plt.show()

# %%
# Most confusions are between digits at small angles, and training for rate reduction moves
# the classes apart, also on rows it has not seen.
