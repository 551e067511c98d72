"""
Can a noisy photograph teach the atoms that clean it?
=====================================================

Small patches of a photograph resemble each other: edges, stripes, gradients. Noise resembles
nothing. So atoms learnt from the noisy patches themselves are those of the photograph, and a patch
written with few of them loses most of its noise.
"""

# %%
# A photograph and its patches
# ----------------------------
# A part of a photograph that scikit-learn ships, in gray, with noise of a standard deviation of 20
# of 255. Every overlapping patch of 8 by 8 pixels becomes a row, its mean set aside.
import matplotlib.pyplot as plt
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.fft import dct
from sklearn.datasets import load_sample_image

from sklearn_whitebox import SparseDictionaryLearner
from sklearn_whitebox.display import AtomsDisplay
from sklearn_whitebox.solvers import omp_encode

side, sigma = 8, 20 / 255
clean = load_sample_image("china.jpg").mean(axis=2)[130:330, 180:430] / 255
rng = np.random.default_rng(0)
noisy = clean + sigma * rng.standard_normal(clean.shape)
patches = sliding_window_view(noisy, (side, side)).reshape(-1, side**2)
means = patches.mean(axis=1, keepdims=True)
X = (patches - means).astype(np.float32)
print(f"{len(X)} patches of {side**2} pixels")

# %%
# Atoms of the noisy patches
# --------------------------
# The weight of the ℓ1 norm is twice the noise: what stands out less from a patch is not worth an
# atom. Nothing but the noisy photograph is used.
learner = SparseDictionaryLearner(
    256, alpha=2 * sigma, max_iter=5, tol=1e-2, random_state=0
)
learner.fit(X)
fig, axes = plt.subplots(1, 2, figsize=(9, 4.5), layout="constrained")
axes[0].imshow(noisy, cmap="gray", vmin=0, vmax=1)
axes[0].set(title="what the learner sees", xticks=[], yticks=[])
AtomsDisplay.from_estimator(learner, image_shape=(side, side), ax=axes[1])
plt.show()


# %%
# Few atoms a patch
# -----------------
# Matching pursuit adds atoms until the rest of a patch is as long as noise would be. Each pixel is
# then the average over the 64 patches that hold it. Cosines, the atoms of JPEG, are the dictionary
# of those who do not learn.
def rebuild(D):
    codes = omp_encode(X, D, max_error=1.15 * sigma * side)
    fitted = (codes @ D + means).reshape(
        *sliding_window_view(noisy, (side, side)).shape
    )
    total, count = np.zeros_like(noisy), np.zeros_like(noisy)
    for i in range(side):
        for j in range(side):
            rows = slice(i, i + fitted.shape[0])
            columns = slice(j, j + fitted.shape[1])
            total[rows, columns] += fitted[:, :, i, j]
            count[rows, columns] += 1
    return total / count, codes.nnz / len(X)


def decibels(image):
    return -10 * np.log10(np.mean((image - clean) ** 2))


wave = dct(np.eye(side), norm="ortho", axis=0)
cosines = np.kron(wave, wave).astype(np.float32)
images = {"photograph": clean, f"noisy: {decibels(noisy):.1f} dB": noisy}
for name, D in {"cosines": cosines, "learnt atoms": learner.components_}.items():
    image, n_atoms = rebuild(D)
    images[f"{name}: {decibels(image):.1f} dB"] = image
    print(f"{name}: {n_atoms:.2f} atoms a patch")

fig, axes = plt.subplots(2, 2, figsize=(9, 7.6), layout="constrained")
for ax, (title, image) in zip(axes.flat, images.items(), strict=True):
    ax.imshow(image, cmap="gray", vmin=0, vmax=1)
    ax.set(title=title, xticks=[], yticks=[])
plt.show()

# %%
# Atoms learnt from nothing but the noisy photograph remove more of its noise than cosines do, and
# need fewer atoms a patch: roofs and railings repeat, and a dictionary that has seen them is short.
