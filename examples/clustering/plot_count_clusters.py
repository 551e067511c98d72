"""
How many clusters are there?
============================

Most clusterers want to be told. :class:`~sklearn_whitebox.CodingLengthClusterer` asks another
question: into which clusters must the samples be cut so that all of them, the clusters, the
labels and the noise together, are written down in the fewest nats? A cut too many pays for a
subspace that is not there, a cut too few pays for a cluster as large as space.
"""

# %%
# Two lines, a plane and some outliers
# ------------------------------------
# The three clusters cross at the origin, have different dimensions, and are not counted for the
# clusterer. Outliers fit no subspace and stay alone.
import matplotlib.pyplot as plt
import numpy as np
from scipy.cluster.hierarchy import dendrogram
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score

from sklearn_whitebox import CodingLengthClusterer
from sklearn_whitebox.datasets import make_union_of_subspaces
from sklearn_whitebox.metrics import clustering_accuracy

rng = np.random.default_rng(0)
X, y = make_union_of_subspaces(
    [80, 80, 160], 3, n_subspaces=3, subspace_dim=[1, 1, 2], random_state=7
)
X *= rng.uniform(0.1, 1, size=(len(X), 1))
X = np.vstack([X + 0.02 * rng.normal(size=X.shape), rng.uniform(-0.8, 0.8, (12, 3))])
y = np.append(y, np.full(12, -1))
clusterer = CodingLengthClusterer(min_cluster_size=5).fit(X)

guesses = range(2, 9)
silhouettes = [
    silhouette_score(X, KMeans(k, random_state=0).fit_predict(X)) for k in guesses
]
k_means = KMeans(guesses[np.argmax(silhouettes)], random_state=0).fit(X)

colors = np.array(["tab:blue", "tab:orange", "tab:green", "tab:red", "tab:purple"])
colors = np.append(colors, ["tab:brown", "tab:pink", "tab:olive", "0.6"])
fig = plt.figure(figsize=(10, 4), layout="constrained")
for place, (name, labels) in enumerate(
    [("coding length", clusterer.labels_), ("k-means and silhouette", k_means.labels_)]
):
    ax = fig.add_subplot(1, 2, place + 1, projection="3d")
    ax.scatter(*X.T, c=colors[labels], s=8)
    counted, score = labels.max() + 1, clustering_accuracy(y, labels)
    ax.set_title(f"{name}\n{counted} clusters, accuracy {score:.2f}")
    ax.set(xticks=[], yticks=[], zticks=[])
    ax.view_init(20, -50)
plt.show()

# %%
# What was compared
# -----------------
# The only setting is the distortion, the error that a code may make. It is chosen by the length
# of the whole description, in which the remaining error is paid for, too: the left picture. At
# the distortion chosen, clusters were joined as long as the code grew shorter; the middle picture
# shows the last joints. Joining the clusters at the dotted line lengthens the code: the right
# picture.
path = clusterer.distortion_path_
merges = clusterer.children_
sizes = np.ones(2 * len(X) - 1)
for t, pair in enumerate(merges):
    sizes[len(X) + t] = sizes[pair].sum()
linkage = np.column_stack([merges, clusterer.distances_, sizes[len(X) :]])

fig, axes = plt.subplots(1, 3, figsize=(10.5, 3.6), layout="constrained")
axes[0].plot(path["distortion"], path["description_length"], "o-", color="tab:purple")
axes[0].axvline(clusterer.distortion_, ls=":", color="0.4")
axes[0].set(xscale="log", xlabel="distortion", ylabel="whole description, nats")
twin = axes[0].twinx()
twin.step(path["distortion"], path["n_clusters"], where="mid", color="0.6")
twin.set(ylim=(0, 8))
# Each label in the colour of its curve.
twin.set_ylabel("clusters of at least five", color="0.4")
axes[0].yaxis.label.set_color("tab:purple")
axes[0].set_title("which distortion?")
dendrogram(
    linkage,
    ax=axes[1],
    truncate_mode="lastp",
    p=16,
    color_threshold=clusterer.distance_threshold_,
    above_threshold_color="0.6",
    leaf_rotation=90,
    leaf_font_size=8,
)
axes[1].axhline(clusterer.distance_threshold_, ls=":", color="0.4")
axes[1].set(title="which joints?", xlabel="samples", ylabel="height, nats a sample")
shown = np.arange(1, 31)
axes[2].plot(shown, clusterer.coding_length_curve_[:30], ".-", color="tab:purple")
parts = int(np.nanargmin(clusterer.coding_length_curve_)) + 1
axes[2].axvline(parts, ls=":", color="0.4")
axes[2].set(xlabel="clusters and outliers", ylabel="coding length, nats")
axes[2].set_title("how many?")
plt.show()

# %%
# More subspaces, more noise
# --------------------------
# Unions of two to six four-dimensional subspaces of a space of twenty dimensions, three draws
# each.
noises = [0.02, 0.05, 0.08]
truths = [2, 4, 6]
fig, axes = plt.subplots(1, 3, figsize=(10, 3.4), layout="constrained", sharey=True)
for ax, noise in zip(axes, noises, strict=True):
    for n_subspaces in truths:
        found = []
        for seed in range(3):
            Z, _ = make_union_of_subspaces(
                40 * n_subspaces,
                20,
                n_subspaces=n_subspaces,
                noise=noise,
                random_state=seed,
            )
            found.append(CodingLengthClusterer(code_mean=False).fit(Z).n_clusters_)
        jitter = n_subspaces + np.array([-0.15, 0, 0.15])
        ax.plot(jitter, found, "o", color="tab:purple", alpha=0.7)
    ax.plot([1, 7], [1, 7], ls=":", color="0.4")
    ax.set(title=f"noise {noise}", xlabel="subspaces", xticks=truths)
axes[0].set(ylabel="clusters found", ylim=(0, 8))
plt.show()

# %%
# The number of clusters, their dimensions and the outliers follow from one measure, the length of
# a description. With little noise it counts right every time; with much noise and 40 samples a
# subspace it counts too few rather than too many, since a subspace that does not pay for itself
# is not drawn.
