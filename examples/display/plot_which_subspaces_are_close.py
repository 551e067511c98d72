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
for ax, features, name in ((axes[0], X, "pixels"), (axes[1], Z_test, "features, unseen rows")):
    labels = y if features is X else y_test
    PrincipalAngleDisplay.from_predictions(features, labels, statistic="mean", ax=ax)
    ax.set_title(f"Mean principal angle: {name}")
plt.show()

# %%
# How many directions does a class need?
# --------------------------------------
# Pixels of a digit spread over dozens of directions, and all digits share the first. The
# features of a class fill a few, and those of different classes add up.
fig, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained", sharey=True)
for ax, features, labels, name in (
    (axes[0], X, y, "pixels"), (axes[1], Z_test, y_test, "features, unseen rows"),
):
    ClassSpectraDisplay.from_predictions(
        features, labels, cumulative=True, n_values=32, ax=ax
    )
    ax.set_title(name)
plt.show()

# %%
# In the plane
# ------------
# Ten orthogonal lines do not fit into a plane, which is why the angles above are the better
# reading. The three classes below do better.
some = np.isin(y_test, [0, 1, 4])
fig, axes = plt.subplots(1, 2, figsize=(9, 4.3), layout="constrained")
EmbeddingDisplay.from_predictions(X_test[some], y_test[some], ax=axes[0], title="pixels")
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

fig, ax = plt.subplots(figsize=(6, 4.2), layout="constrained")
ax.scatter(angles[pairs], counts, s=18)
for i, j, count in zip(*pairs, counts, strict=True):
    if count >= 5:
        ax.annotate(f"{i} and {j}", (angles[i, j], count), xytext=(5, 3), fontsize=9,
                    textcoords="offset points")
ax.set(xlabel="mean principal angle (degrees)", ylabel="unseen rows confused")
ax.grid(visible=True, alpha=0.3)
plt.show()

# %%
# Most pairs of digits that are confused lie at small angles, and training for rate reduction
# moves the classes apart, also of rows it has not seen.
