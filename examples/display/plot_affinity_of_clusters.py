"""
What does each cluster see of the affinity?
===========================================

Subspace clustering connects each sample to those that write it, and then cuts the graph.
The labels alone do not tell whether the cut was obvious or arbitrary; the affinity, sorted
by cluster, does. Here the same five subspaces are sampled twice: once far apart, once so
close together and so noisy that connections go astray.
"""

# %%
# Two graphs, sorted by what was found in them
# --------------------------------------------
# A dark block is a cluster that is connected inside. Grey outside of the blocks are
# connections between clusters. The strip of colours on the left has the true classes: a
# cluster whose strip has two colours is wrong.
import matplotlib.pyplot as plt
import numpy as np

from sklearn_whitebox import SubspaceClusterer
from sklearn_whitebox.datasets import make_union_of_subspaces
from sklearn_whitebox.display import AffinityDisplay, PrincipalAngleDisplay
from sklearn_whitebox.metrics import clustering_accuracy

rows = {}
for name, n_features, noise in (("easy", 30, 0.0), ("hard", 9, 0.12)):
    rows[name] = make_union_of_subspaces(
        400, n_features, n_subspaces=5, subspace_dim=4, noise=noise, random_state=0
    )
models = {
    name: SubspaceClusterer(5, random_state=0).fit(X) for name, (X, _) in rows.items()
}

fig, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
for ax, (name, model) in zip(axes, models.items(), strict=True):
    y = rows[name][1]
    display = AffinityDisplay.from_estimator(model, y, ax=ax, max_cells=130)
    accuracy = clustering_accuracy(y, model.labels_)
    ax.set_title(
        f"{name}: accuracy {accuracy:.2f}\n"
        f"subspace-preserving error {display.preserving_error:.2f}"
    )
plt.show()

# %%
# Which samples went astray?
# --------------------------
# The share of each sample's code that lies on other classes is the subspace-preserving
# error of that sample. It is large long before the clustering fails: wrong connections of a
# sample are outvoted by its right ones. On the right, how close the clusters found are.
shares = {}
for name, model in models.items():
    y = rows[name][1]
    codes = abs(model.representation_).tocoo()
    astray = codes.data * (y[codes.coords[0]] != y[codes.coords[1]])
    total = np.bincount(codes.coords[0], codes.data, minlength=len(y))
    shares[name] = np.bincount(codes.coords[0], astray, minlength=len(y)) / total
    wrong = shares[name][shares[name] > 0.5]
    print(f"{name}: {len(wrong)} samples are written mostly by other classes")

fig, axes = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
for (name, values), colour in zip(
    shares.items(), ("tab:blue", "tab:orange"), strict=True
):
    axes[0].plot(
        np.sort(values), np.linspace(0, 1, len(values)), color=colour, label=name
    )
axes[0].set(xlabel="share of a code on other classes", ylabel="share of the samples")
axes[0].grid(visible=True, alpha=0.3)
axes[0].legend()
PrincipalAngleDisplay.from_estimator(models["hard"], ax=axes[1])
plt.show()

# %%
# In the easy case every cluster sees itself alone. In the hard one the subspaces lie within a
# few degrees of each other and a quarter of the codes spills over to other classes, and yet
# most of the affinity stays inside the clusters and most samples are labelled right.
