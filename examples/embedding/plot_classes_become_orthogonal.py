"""
How do classes become orthogonal?
=================================

Three digits are given three dimensions. Maximal rate reduction asks for features that take as much
room as they can together, and as little as they can class by class. On the sphere there is one way to
do both: a direction for each class, at right angles to the others.
"""

# %%
# Features that move freely
# -------------------------
#
# First without any network: 300 random points on the sphere, in three classes, follow the gradient of
# the rate reduction. It is known in closed form, and so is the largest value that can be reached.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from sklearn_whitebox import RateReductionEmbedding
from sklearn_whitebox.display import FeatureSphereDisplay
from sklearn_whitebox.functional import (
    coding_rate,
    optimal_rate_reduction,
    project_sphere,
    rate_reduction,
    rate_reduction_gradient,
)

rng = np.random.default_rng(0)
labels = np.repeat([0, 1, 2], 100)
features = project_sphere(rng.normal(size=(300, 3)))
optimum = optimal_rate_reduction([100] * 3, 3)
snapshots, step = {}, 0.5 * len(features) * 0.5 / 3
for iteration in range(61):
    if iteration in (0, 20, 60):
        snapshots[iteration] = features
    gradient = rate_reduction_gradient(features, labels)
    features = project_sphere(features + step * gradient)

fig, axes = plt.subplots(
    1, 3, figsize=(10, 4), subplot_kw={"projection": "3d"}, layout="constrained"
)
for ax, (iteration, Z) in zip(axes, snapshots.items(), strict=True):
    share = rate_reduction(Z, labels) / optimum
    title = f"step {iteration}\n{share:.0%} of the attainable rate reduction"
    FeatureSphereDisplay(Z, labels).plot(ax, title=title, legend=False)
plt.show()

# %%
# Features of a network, for digits it has not seen
# -------------------------------------------------
#
# :class:`~sklearn_whitebox.RateReductionEmbedding` climbs the same objective by the weights of a small
# network, so the features of new images follow. Lines mark the strongest direction of each class.
X, y = load_digits(n_class=3, return_X_y=True)
X, X_test, y, y_test = train_test_split(X, y, stratify=y, random_state=0)
embedding = RateReductionEmbedding(3, random_state=0).fit(X, y)
images = {
    "pixels, by PCA": PCA(3).fit(X).transform(X_test),
    "RateReductionEmbedding": embedding.transform(X_test),
}
fig, axes = plt.subplots(
    1, 2, figsize=(8.5, 4.8), subplot_kw={"projection": "3d"}, layout="constrained"
)
sizes = np.bincount(y_test)
attainable = optimal_rate_reduction(sizes, 3)
for ax, (name, Z) in zip(axes, images.items(), strict=True):
    share = rate_reduction(project_sphere(Z), y_test) / attainable
    display = FeatureSphereDisplay(Z, y_test)
    title = f"{name}\n{share:.0%} of the attainable rate reduction"
    display.plot(ax, title=title, legend=False)
axes[-1].legend(title="digit")
plt.show()

cosines = np.abs(display.directions_ @ display.directions_.T)[np.triu_indices(3, k=1)]
print("degrees between the lines:", np.rad2deg(np.arccos(cosines)).round(1))

# %%
# What training does to the rates
# -------------------------------
#
# The rate of all features stays close to the most that three dimensions hold, while the rates of the
# classes fall. Their difference is the rate reduction.
passes = [1, 2, 3, 5, 10, 20, 50, 100]
rates = []
for max_iter in passes:
    model = RateReductionEmbedding(3, max_iter=max_iter, random_state=0).fit(X, y)
    Z = model.transform(X_test).astype(float)
    rates.append([coding_rate(Z), rate_reduction(Z, y_test)])
whole, gain = np.transpose(rates)

fig, ax = plt.subplots(figsize=(6, 4), layout="constrained")
ax.plot(passes, whole, "o-", label="all digits together")
ax.plot(passes, whole - gain, "o-", label="within the digits")
ax.plot(passes, gain, "o-", label="rate reduction")
ax.axhline(attainable, color="black", linestyle="--", label="attainable rate reduction")
ax.set(xscale="log", xlabel="passes of training", ylabel="nats per unseen image")
ax.xaxis.set_major_formatter("{x:g}")
ax.set_ylim(bottom=0)
fig.legend(loc="outside lower center", ncols=2)
plt.show()

# %%
# Points that may move freely end on three orthogonal lines, at the optimum. A network gets close to it
# for images that it has never seen: the digits are at nearly right angles.
