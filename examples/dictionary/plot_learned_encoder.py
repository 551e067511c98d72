"""
How many steps does a sparse code need?
=======================================

A lasso code is the end of a long walk: iterative soft-thresholding takes hundreds of steps, its
accelerated form tens. :class:`~sklearn_whitebox.LearnedSparseEncoder` keeps the steps and learns
their matrices and thresholds from samples, so that a few of them suffice. Untrained, it *is*
iterative soft-thresholding; the figure shows what training adds, and what it costs on samples of
another kind.
"""

# %%
# Objective after T steps
# -----------------------
# Fifty atoms in twenty dimensions, three in each sample. The excess is the mean lasso objective of
# held-out samples, minus that of the exact codes. Every point of a learnt curve is a network of its
# own, trained on the objective itself: no exact code is needed for training.
import matplotlib.pyplot as plt
import numpy as np

from sklearn_whitebox import LearnedSparseEncoder
from sklearn_whitebox.datasets import make_sparse_codes
from sklearn_whitebox.functional import fista_step, ista_step, lasso_duality_gap
from sklearn_whitebox.solvers import lasso_encode

alpha = 0.1
X, _, D = make_sparse_codes(4000, 20, 50, n_nonzero=3, random_state=0)
X, X_test = X[:3000], X[3000:]


def excess(codes):
    return objective(codes) - objective(exact)


def objective(codes):
    error = 0.5 * np.sum((X_test - codes @ D) ** 2, axis=1)
    return np.mean(error + alpha * np.abs(codes).sum(axis=1))


exact = lasso_encode(X_test, D, alpha=alpha, tol=1e-9).solution
curves = {"ISTA": [], "FISTA": []}
Z = Z_fast = Y = np.zeros_like(exact)
momentum = 1.0
for _ in range(64):
    Z = ista_step(X_test, Z, D, alpha=alpha)
    Z_fast, Y, momentum = fista_step(
        X_test, Z_fast, Y, D, alpha=alpha, momentum=momentum
    )
    curves["ISTA"].append(excess(Z))
    curves["FISTA"].append(excess(Z_fast))

depths = [1, 2, 4, 8]
encoders = {}
for form in ("coupled", "analytic"):
    for n_layers in depths:
        encoders[form, n_layers] = LearnedSparseEncoder(
            D, n_layers=n_layers, form=form, alpha=alpha, max_iter=50, random_state=0
        ).fit(X)

fig, ax = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
for name, curve in curves.items():
    ax.loglog(np.arange(1, 65), curve, label=name, lw=1.5)
for form, name in {"coupled": "LISTA", "analytic": "ALISTA"}.items():
    values = [excess(encoders[form, T].transform(X_test)) for T in depths]
    marker = "o" if form == "coupled" else "s"
    ax.loglog(depths, values, marker=marker, label=f'{name}, form="{form}"')
ax.set(
    xlabel="steps, or layers",
    ylabel="excess objective on held-out samples",
    title="What one more step is worth",
)
ax.set_xticks([1, 2, 4, 8, 16, 32, 64], [1, 2, 4, 8, 16, 32, 64])
ax.minorticks_off()
ax.legend()
plt.show()

# %%
# Samples of another kind
# -----------------------
# The network has learnt the samples of its fit, not the lasso. On samples with more atoms each, or
# on pure noise, its codes are further from the optimum. The duality gap of a code tells, without
# knowing the exact one, and `safeguard` solves again where the gap is too large.
rng = np.random.default_rng(0)
_, dense, _ = make_sparse_codes(1000, 20, 50, n_nonzero=12, random_state=1)
kinds = {
    "3 atoms,\nas in the fit": X_test,
    "12 atoms": np.abs(dense) @ D,
    "noise, far longer": 8 * rng.standard_normal((1000, 20)),
}
learnt = encoders["coupled", 8]
untrained = LearnedSparseEncoder(D, n_layers=8, alpha=alpha, max_iter=0).fit(X)
codings = {
    "8 steps of ISTA": untrained.transform,
    "8 learnt layers": learnt.transform,
}
gaps = {name: [] for name in [*codings, "safeguard=True, tol=1e-4"]}
for rows in kinds.values():
    half = 0.5 * np.sum(rows**2, axis=1)
    for name, transform in codings.items():
        gap = lasso_duality_gap(rows, transform(rows), D, alpha=alpha)
        gaps[name].append(np.mean(gap / half))
    learnt.set_params(safeguard=True, tol=1e-4)
    gap = lasso_duality_gap(rows, learnt.transform(rows), D, alpha=alpha)
    gaps["safeguard=True, tol=1e-4"].append(np.mean(gap / half))
    learnt.set_params(safeguard=False)

fig, ax = plt.subplots(figsize=(6.4, 4), layout="constrained")
for i, (name, values) in enumerate(gaps.items()):
    ax.bar(
        np.arange(3) + 0.27 * (i - 1), np.maximum(values, 1e-15), width=0.25, label=name
    )
ax.set(yscale="log", ylabel="mean relative duality gap", ylim=(1e-15, 1e4))
ax.set_xticks(np.arange(3), kinds)
ax.legend(loc="upper left", ncols=3, fontsize="small")
plt.show()

# %%
# On samples like those of the fit, eight learnt layers are closer to the optimum than twenty
# accelerated steps. On others the advantage is lost or turns, the duality gap shows it, and the
# safeguard makes every code exact to the tolerance asked for.
