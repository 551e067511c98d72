"""
Which face is it, whatever the light?
=====================================

Two images of one face under different light differ more than two faces under the same light. All
images of a matt face, however it is lit, lie near a subspace of nine dimensions at most [1]_, so
:class:`~sklearn_whitebox.SubspaceClusterer` can sort images by face where distances sort them by
light. The faces here are made: smooth heads with bumps, spots and shadows.
"""

# %%
# Ten heads, sixty lights each
# ----------------------------
# A matt surface reflects its albedo times the cosine between its normal and the light, and nothing
# where it is turned away. That clipping, the attached shadow, is what makes three dimensions too
# few.
import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import gaussian_filter
from sklearn.cluster import KMeans, SpectralClustering
from sklearn.preprocessing import normalize

from sklearn_whitebox import SubspaceClusterer
from sklearn_whitebox.display import AffinityDisplay, PrincipalAngleDisplay
from sklearn_whitebox.metrics import clustering_accuracy

SIZE, N_FACES, N_LIGHTS = 32, 10, 60


def random_head(rng):
    """Make normals and albedo of an ellipsoid with a nose, bumps and spots."""
    down, right = np.mgrid[-1.15 : 1.15 : SIZE * 1j, -1.15 : 1.15 : SIZE * 1j]
    radius = (right / rng.uniform(0.75, 0.95)) ** 2 + (
        down / rng.uniform(0.95, 1.1)
    ) ** 2
    nose = np.exp(-(right**2) / 0.02 - (down - 0.1) ** 2 / 0.06)
    bumps = gaussian_filter(rng.normal(size=(SIZE, SIZE)), 2.5)
    depth = np.sqrt(np.maximum(1 - radius, 0)) + rng.uniform(0.15, 0.45) * nose
    depth += 0.06 * bumps / bumps.std()
    slopes = np.gradient(-depth, 2.3 / (SIZE - 1))
    normals = normalize(np.c_[slopes[1].ravel(), slopes[0].ravel(), np.ones(SIZE**2)])
    spots = gaussian_filter(rng.normal(size=(SIZE, SIZE)), 1)
    albedo = np.clip(0.7 + 0.12 * spots / spots.std(), 0.1, 1)
    return normals, (albedo * (radius < 0.93)).ravel()


rng = np.random.default_rng(0)
lights = normalize(
    np.c_[rng.normal(size=(N_FACES * N_LIGHTS, 2)), np.ones(N_FACES * N_LIGHTS)]
)
faces = np.repeat(np.arange(N_FACES), N_LIGHTS)
X = np.empty((len(faces), SIZE**2))
for face in range(N_FACES):
    normals, albedo = random_head(rng)
    X[faces == face] = albedo * np.maximum(lights[faces == face] @ normals.T, 0)
X += 0.02 * rng.normal(size=X.shape)

energy = np.linalg.svd(X[faces == 0], compute_uv=False) ** 2
share = np.cumsum(energy) / energy.sum()
print(f"squared norm of one face in 3 dimensions {share[2]:.1%}, in 9 {share[8]:.1%}")

# %%
# By light or by face?
# --------------------
# Beside the accuracy we ask how much of the variance of the light the clusters explain. For faces it
# should be next to nothing.


def light_explained(labels):
    means = np.array([lights[labels == label].mean(axis=0) for label in labels])
    return (
        1 - ((lights - means) ** 2).sum() / ((lights - lights.mean(axis=0)) ** 2).sum()
    )


clusterer = SubspaceClusterer(N_FACES, random_state=0).fit(X)
k_means = KMeans(N_FACES, n_init=10, random_state=0)
near = SpectralClustering(N_FACES, affinity="nearest_neighbors", random_state=0)
unit = normalize(X)
found = {
    "k-means": k_means.fit_predict(X),
    "k-means, unit norm": k_means.fit_predict(unit),
    "near neighbours, spectral": near.fit_predict(X),
    "near neighbours, unit norm": near.fit_predict(unit),
    "SubspaceClusterer": clusterer.labels_,
}
accuracy = {name: clustering_accuracy(faces, labels) for name, labels in found.items()}
explained = {name: light_explained(labels) for name, labels in found.items()}
for name in found:
    print(
        f"{name:28} accuracy {accuracy[name]:.3f}, light explained {explained[name]:.0%}"
    )

fig, axes = plt.subplots(4, 1, figsize=(9, 4.4), layout="constrained")
rows = {
    "one face": np.flatnonzero(faces == 0),
    "another face": np.flatnonzero(faces == 1),
    "one cluster of k-means": np.flatnonzero(found["k-means"] == 0),
    "one cluster of SubspaceClusterer": np.flatnonzero(clusterer.labels_ == 0),
}
for ax, (title, members) in zip(axes, rows.items(), strict=True):
    chosen = rng.choice(members, size=12, replace=False)
    ax.imshow(
        np.hstack(X[chosen].reshape(-1, SIZE, SIZE)), cmap="gray", vmin=0, vmax=0.9
    )
    ax.set(title=title, xticks=[], yticks=[])
plt.show()

# %%
# The graph and the subspaces
# ---------------------------
# The graph of the codes, sorted by the clusters found, has a block for each face. The subspaces of
# the clusters, which keep three dimensions each, come close, since all of them describe lit heads:
# a subspace need not be orthogonal to the others to be found.
fig, axes = plt.subplots(1, 2, figsize=(10, 4.2), layout="compressed")
AffinityDisplay.from_estimator(clusterer, faces, ax=axes[0])
PrincipalAngleDisplay.from_estimator(clusterer, ax=axes[1])
plt.show()

# %%
# What the clusters tell
# ----------------------
fig, ax = plt.subplots(figsize=(8, 4), layout="constrained")
places = np.arange(len(found))
for shift, values, label, colour in (
    (-0.2, accuracy, "accuracy of the faces", "tab:purple"),
    (0.2, explained, "variance of the light explained", "gold"),
):
    bars = ax.barh(
        places + shift, list(values.values()), 0.4, label=label, color=colour
    )
    ax.bar_label(bars, fmt=" %.2f", fontsize=8)
ax.set_yticks(places, list(found))
ax.set(xlim=(0, 1.12), ylim=(-0.5, 5.4), title="face or light?")
ax.legend(loc="upper left")
plt.show()

# %%
# Whoever goes by distance sorts nine tenths of the light and a fifth of the faces; whoever asks which
# images write each other finds every face, and nothing of the light.
#
# .. [1] Basri, Jacobs (2003). Lambertian reflectance and linear subspaces. IEEE TPAMI 25(2).
