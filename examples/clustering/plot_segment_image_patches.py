"""
Can an image be segmented by its colours, whatever the light?
=============================================================

A petal in the sun and a petal in the shade have different pixels, but the same up to a factor.
Patches of one material, at any brightness, lie near a line through the origin, which is darkness.
K-means compares pixel values and cuts between light and shade;
:class:`~sklearn_whitebox.KSubspaces` compares directions and cuts between materials.
"""

# %%
# A photograph in two lights
# --------------------------
# The second copy gets darker from left to right, to a sixth. Patches have 8 × 8 pixels in three
# colours; every fourth one is used to fit, and all others are labelled by `predict`.
import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.datasets import load_sample_image
from sklearn.metrics.cluster import contingency_matrix

from sklearn_whitebox import KSubspaces
from sklearn_whitebox.metrics import clustering_accuracy

photo = load_sample_image("flower.jpg")[:426, :640] / 255.0
photo = photo.reshape(213, 2, 320, 2, 3).mean(axis=(1, 3))
pictures = {
    "even light": photo,
    "uneven light": photo * np.geomspace(1, 1 / 6, 320)[:, None],
}
models = {
    "k-means": KMeans(3, n_init=3, random_state=0),
    "KSubspaces": KSubspaces(
        3, subspace_dim=1, normalize=True, n_init=2, n_swaps=5, random_state=0
    ),
}


def segment(picture, model):
    """Label the patches around every second pixel."""
    windows = np.lib.stride_tricks.sliding_window_view(picture, (8, 8), axis=(0, 1))
    model.fit(windows[::4, ::4].reshape(-1, 192))
    windows = windows[::2, ::2]
    return model.predict(windows.reshape(-1, 192)).reshape(windows.shape[:2])


segments = {
    (light, name): segment(picture, model)
    for light, picture in pictures.items()
    for name, model in models.items()
}

# %%
# Which segments survive the change of light?
# -------------------------------------------
fig, axes = plt.subplots(2, 3, figsize=(10, 4.9), layout="constrained")
for row, (light, picture) in zip(axes, pictures.items(), strict=True):
    row[0].imshow(picture)
    row[0].set_title(light)
    for ax, name in zip(row[1:], models, strict=True):
        before, now = segments["even light", name], segments[light, name]
        # Segments come in any order; show each in the colour it had in even light.
        counts = contingency_matrix(now.ravel(), before.ravel())
        colors = linear_sum_assignment(counts, maximize=True)[1][now]
        ax.imshow(colors, cmap="viridis", vmin=0, vmax=2)
        score = clustering_accuracy(before.ravel(), now.ravel())
        ax.set_title(name if now is before else f"{name}: {score:.0%} as before")
for ax in axes.ravel():
    ax.set_axis_off()
plt.show()

# %%
# In the uneven light k-means spends a segment on the shade; the segments of KSubspaces stay what
# they were, and the blossom is one of them, because a line through the origin holds a material at
# every brightness.
