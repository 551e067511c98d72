"""
Can a classifier ignore where a signal starts?
==============================================

A sensor records a motif, but not when it comes. With ``input_shape`` a
:class:`~sklearn_whitebox.ReduNetClassifier` is built from circular convolutions, frequency by
frequency, and its answers are the same for every shift: not by training on shifted copies, but
exactly. :class:`~sklearn_whitebox.PolarTransformer` makes the same of rotations.
"""

# %%
# A motif and its mirror image
# ----------------------------
#
# Both have one power spectrum, so no filter alone tells them apart. Random filters followed by
# rectification do, which is what ``lift="auto"`` finds.
import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import rotate
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from sklearn_whitebox import PolarTransformer, ReduNetClassifier

LENGTH = 32
motif = np.zeros(LENGTH)
motif[[0, 1, 3, 6]] = [1.0, 1.5, -1.0, 0.5]


def draw(n_samples, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n_samples)
    rows = [np.roll(motif[:: 1 - 2 * k], rng.integers(LENGTH)) for k in labels]
    return np.stack(rows) + 0.2 * rng.standard_normal((n_samples, LENGTH)), labels


X_test, y_test = draw(500, seed=1)
sizes = [10, 20, 40, 80, 160, 320]
models = {
    "ReduNet, input_shape": ReduNetClassifier(
        10, input_shape=(1, LENGTH), random_state=0
    ),
    "ReduNet, plain": ReduNetClassifier(10, random_state=0),
    "5 nearest neighbours": KNeighborsClassifier(5),
}
scores = {
    name: [model.fit(*draw(n, seed=0)).score(X_test, y_test) for n in sizes]
    for name, model in models.items()
}

fig, axes = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
for k, name in enumerate(["motif", "mirror image"]):
    rows = X_test[y_test == k][:3] + 3 * np.arange(3)[:, None]
    axes[0].plot(rows.T + 11 * k, color=f"C{k}", lw=1)
    axes[0].text(LENGTH, 11 * k + 3, name, color=f"C{k}", va="center")
axes[0].set(xlabel="sample", yticks=[], title="three of each class")
axes[0].set(xlim=(0, LENGTH + 12), xticks=range(0, LENGTH + 1, 8))
for name, values in scores.items():
    axes[1].plot(sizes, values, "o-", label=name)
axes[1].set(xscale="log", xlabel="training signals", ylabel="accuracy")
axes[1].legend()
plt.show()

# %%
# Features move with the signal, classes do not move at all
# ---------------------------------------------------------
net = models["ReduNet, input_shape"]
signal = X_test[:1]
shifted = [np.roll(signal, shift, axis=1) for shift in range(LENGTH)]
features = np.stack([net.transform(x).reshape(-1, LENGTH)[2] for x in shifted])
chance = [net.predict_proba(x)[0, 1] for x in shifted]
plain = [models["ReduNet, plain"].predict_proba(x)[0, 1] for x in shifted]

fig, axes = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
axes[0].imshow(features, cmap="coolwarm")
axes[0].set(xlabel="sample", ylabel="shift of the signal", title="one channel")
axes[1].plot(chance, "--", label="input_shape")
axes[1].plot(plain, label="plain")
axes[1].set(xlabel="shift of the signal", ylabel="probability of the mirror image")
axes[1].set_ylim(-0.05, 1.2)
axes[1].legend(loc="upper center", ncols=2)
plt.show()

# %%
# Rotated digits
# --------------
#
# Circles around the centre turn rotations into shifts along the angle. Both networks see upright
# digits only; the test digits are turned. Six and nine are left out, being each other's rotation.
X, y = load_digits(return_X_y=True)
kept = ~np.isin(y, [6, 9])
X, X_test, y, y_test = train_test_split(
    X[kept], y[kept], train_size=500, test_size=300, stratify=y[kept], random_state=0
)
polar = make_pipeline(
    PolarTransformer(6, n_angles=32),
    ReduNetClassifier(
        10,
        lift="random_relu",
        n_channels=40,
        input_shape=(6, 32),
        random_state=0,
    ),
).fit(X, y)
plain = ReduNetClassifier(10, random_state=0).fit(X, y)

angles = np.arange(0, 361, 30)
images = X_test.reshape(-1, 8, 8)
curves = {"polar, input_shape": [], "plain": []}
for angle in angles:
    turned = rotate(images, angle, axes=(2, 1), reshape=False, order=1)
    turned = turned.reshape(len(images), -1)
    for values, model in zip(curves.values(), [polar, plain], strict=True):
        values.append(model.score(turned, y_test))

fig, ax = plt.subplots(figsize=(6.5, 3.6), layout="constrained")
for name, values in curves.items():
    ax.plot(angles, values, "o-", label=name)
ax.set(xlabel="rotation of unseen digits in degrees", ylabel="accuracy", ylim=(0, 1.15))
ax.set_xticks(angles[::3])
ax.legend(loc="upper center", ncols=2)
plt.show()

# %%
# With a shape, the class of a signal does not depend on its shift, and forty signals suffice, where
# the plain network needs to see most shifts of both classes. In polar coordinates the network holds its accuracy
# through all rotations, up to what interpolation of eight by eight pixels costs, and the plain one
# falls to chance.
