"""
What do the neurons of a network stand for?
===========================================

A network that needs more features than it has neurons stores them in superposition: each as a
direction, few of them active at a time, and every neuron takes part in many.
:class:`~sklearn_whitebox.SparseAutoencoder` finds the directions from activations alone. First
where the truth is known, then in a classifier of digits.
"""

# %%
# Features in superposition
# -------------------------
# Forty non-negative features live in twenty dimensions, three at a time. Single neurons, and the
# principal components, mix them. The left panel shows the cosines between true and learnt
# directions, matched by their largest entries; on the right, how close the nearest learnt direction
# is to each feature.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from sklearn_whitebox import SparseAutoencoder
from sklearn_whitebox.datasets import make_sparse_codes
from sklearn_whitebox.metrics import dictionary_recovery

_, codes, D = make_sparse_codes(5000, 20, 40, n_nonzero=3, random_state=0)
X = np.abs(codes) @ D
found = {
    "neurons": np.eye(20),
    "PCA": PCA().fit(X).components_,
    "SAE, relu": SparseAutoencoder(40, activation="relu", random_state=0)
    .fit(X)
    .components_,
    "SAE, top-k": SparseAutoencoder(40, n_active=3, random_state=0).fit(X).components_,
}

fig, axes = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained")
cosines = np.abs(D @ found["SAE, top-k"].T)
cosines = cosines[:, np.argsort(cosines.argmax(axis=0), kind="stable")]
image = axes[0].imshow(cosines, cmap="magma", vmin=0, vmax=1)
fig.colorbar(image, ax=axes[0], label="|cosine|", shrink=0.85)
axes[0].set(title="top-k autoencoder", xlabel="atom", ylabel="true feature")
nearest = [np.abs(D @ atoms.T).max(axis=1) for atoms in found.values()]
axes[1].boxplot(nearest, tick_labels=list(found))
axes[1].set(ylabel="|cosine| with the nearest learnt direction", ylim=(0, 1.02))
for position, atoms in enumerate(found.values(), start=1):
    share = dictionary_recovery(atoms, D, threshold=0.05).fraction_detected
    axes[1].text(position, 0.03, f"{share:.0%} found", ha="center")
plt.show()

# %%
# Inside a classifier
# -------------------
# The 32 hidden activations of a multilayer perceptron, taken apart into 128 features of which four
# are active at a time. A feature is *pure* if the images that activate it are of one class: the
# histogram compares features and neurons, each by its twenty strongest images.
images, y = load_digits(return_X_y=True)
images, unseen, y, y_unseen = train_test_split(images / 16, y, random_state=0)
network = MLPClassifier((32,), max_iter=800, random_state=0).fit(images, y)


def hidden(rows):
    return np.maximum(rows @ network.coefs_[0] + network.intercepts_[0], 0)


model = SparseAutoencoder(128, n_active=4, max_iter=150, random_state=0)
model.fit(hidden(images))
codes = model.transform(hidden(images))


def purity(activations, n_strongest=20):
    active = np.sum(activations > 0, axis=0) >= n_strongest
    strongest = np.argsort(-activations[:, active], axis=0)[:n_strongest]
    votes = np.stack([np.bincount(y[rows], minlength=10) for rows in strongest.T])
    return votes.max(axis=1) / n_strongest


summary = {"32 neurons": purity(hidden(images)), "128 features": purity(codes)}
fig, axes = plt.subplots(
    1, 2, figsize=(9, 4.2), layout="constrained", width_ratios=[1, 1.4]
)
bins = np.linspace(0.1, 1, 10)
for name, values in summary.items():
    axes[0].hist(
        values,
        bins,
        weights=np.full(len(values), 1 / len(values)),
        alpha=0.6,
        label=name,
    )
axes[0].set(
    xlabel="share of one digit in the 20 strongest images", ylabel="share of units"
)
axes[0].legend(loc="upper left")
frequent = np.argsort(-np.sum(codes > 0, axis=0))[:8]
strongest = np.argsort(-codes[:, frequent], axis=0)[:10]
mosaic = np.block(
    [
        [np.pad(images[i].reshape(8, 8), 1, constant_values=0.5) for i in rows]
        for rows in strongest.T
    ]
)
axes[1].imshow(mosaic, cmap="gray_r")
axes[1].set(
    xticks=[],
    yticks=[],
    ylabel="eight most used features",
    xlabel="images that activate them most",
)
plt.show()

# %%
# From activations alone the autoencoder finds nearly all features that the neurons mix. In the
# classifier, four of 128 features explain
print(f"{model.score(hidden(unseen)):.0%} of the variance of unseen activations.")

# %%
# Half of the features answer to one digit almost alone, and the frequent ones to one way of writing
# it; of the neurons it is a quarter.
