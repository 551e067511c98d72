"""
How many samples does it take to find a basis?
==============================================

Samples are mixtures of a few of 25 hidden orthonormal atoms. With enough samples everybody finds the
atoms; the question is how many are enough, and how that depends on how many atoms are in a sample.
:class:`~sklearn_whitebox.SparseDictionaryLearner` looks for sparse codes, independent component
analysis for independent ones.
"""

# %%
# A trial
# -------
# Draw atoms and samples, fit, and ask which share of the atoms is recovered to within eight degrees
# and what the worst angle is.
import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import FastICA

from sklearn_whitebox import SparseDictionaryLearner
from sklearn_whitebox.datasets import make_sparse_codes
from sklearn_whitebox.metrics import dictionary_recovery

d = 25
ratios = [2, 3, 4, 6, 8, 12, 16, 24, 32, 64]
densities = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
seeds = range(2)


def learnt_atoms(X, seed):
    return SparseDictionaryLearner(random_state=seed).fit(X).components_


def independent_atoms(X, seed):
    model = FastICA(whiten_solver="eigh", max_iter=300, random_state=seed)
    return model.fit(X).mixing_.T


methods = {"SparseDictionaryLearner": learnt_atoms, "FastICA": independent_atoms}
found = {name: np.zeros((len(densities), len(ratios))) for name in methods}
angle = {name: np.zeros((len(densities), len(ratios))) for name in methods}
with warnings.catch_warnings():
    # Too few samples for anybody is part of the picture.
    warnings.simplefilter("ignore")
    for i, density in enumerate(densities):
        for j, ratio in enumerate(ratios):
            for seed in seeds:
                X, _, D = make_sparse_codes(
                    ratio * d, d, density=density, orthogonal=True, random_state=seed
                )
                for name, fit in methods.items():
                    recovery = dictionary_recovery(fit(X, seed), D)
                    found[name][i, j] += recovery.fraction_detected / len(seeds)
                    worst = np.degrees(np.arccos(recovery.min_cosine))
                    angle[name][i, j] += worst / len(seeds)

# %%
# The share of atoms found
# ------------------------
# Yellow is everything, dark nothing. Between them lies the transition: the denser the codes, the
# further to the right.
fig, axes = plt.subplots(1, 2, figsize=(9, 3.8), sharey=True, layout="constrained")
for ax, (name, shares) in zip(axes, found.items(), strict=True):
    image = ax.imshow(shares, origin="lower", aspect="auto", vmin=0, vmax=1)
    ax.set_xticks(range(len(ratios)), ratios)
    ax.set_yticks(range(len(densities)), densities)
    ax.set(title=name, xlabel="samples per dimension")
axes[0].set_ylabel("share of the atoms in a sample")
fig.colorbar(image, ax=axes, label="share of atoms found to 8 degrees")
plt.show()

# %%
# Beyond the transition
# ---------------------
# Once independent components are found, their angle to the truth shrinks like one over the square
# root of the samples. Sparse atoms are exact at once: where a code is zero it is zero exactly.
fig, ax = plt.subplots(figsize=(6.4, 4), layout="constrained")
for name, colour in zip(methods, ("tab:red", "tab:blue"), strict=True):
    for density, style in ((0.1, ":"), (0.3, "-"), (0.5, "--")):
        angles = np.maximum(angle[name][densities.index(density)], 1e-6)
        label = f"{name}, density {density}"
        ax.loglog(ratios, angles, style, color=colour, marker="o", label=label)
ax.set_xticks(ratios, ratios)
ax.minorticks_off()
ax.set(xlabel="samples per dimension", ylabel="angle of the worst atom (degrees)")
ax.legend(fontsize=8, loc="center right")
plt.show()

# %%
# Sparsity finds a basis with a few samples per dimension where independence needs dozens, and finds
# it exactly. Both have a limit: when most atoms are in every sample, nothing is sparse any more.
