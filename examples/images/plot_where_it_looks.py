"""
Does a white-box transformer look where the digit is?
=====================================================

We hide each digit somewhere in a larger picture full of noise, train a
:class:`~sklearn_whitebox.CRATEClassifier` on the labels alone, and see whether its attention finds
the place, which nobody told it.
"""

# %%
# Hide digits in noise
# --------------------
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

from sklearn_whitebox import CRATEClassifier

SIDE, PATCH, N_LAYERS = 20, 4, 2
rng = np.random.default_rng(0)


def hide(digits):
    """Put each digit at a random place in noise; return pictures and places."""
    pictures = 0.4 * rng.random((len(digits), SIDE, SIDE))
    places = rng.integers(0, SIDE - 8 + 1, size=(len(digits), 2))
    for picture, digit, (top, left) in zip(pictures, digits, places, strict=True):
        picture[top : top + 8, left : left + 8] += digit.reshape(8, 8)
    return pictures.reshape(len(digits), -1), places


digits, labels = load_digits(return_X_y=True)
train, test, y, y_test = train_test_split(
    digits / 16, labels, test_size=0.3, stratify=labels, random_state=0
)
# Every digit is hidden three times, at another place each time.
X, _ = hide(np.tile(train, (3, 1)))
y = np.tile(y, 3)
X_test, places = hide(test)

# %%
# Train on the labels alone
# -------------------------
#
# Convolutions before the patches let a stroke look the same wherever it is. A class token has to
# choose what it reads; ``pool="mean"`` would read all patches alike.

model = CRATEClassifier(
    image_shape=(SIDE, SIDE),
    patch_size=PATCH,
    n_layers=N_LAYERS,
    pool="class",
    max_iter=10,
    random_state=0,
)
model.fit(X, y)
svc = SVC(C=10).fit(X, y)
print(f"accuracy on unseen pictures: CRATE {model.score(X_test, y_test):.3f}")
print(f"                             SVC   {svc.score(X_test, y_test):.3f}")

# %%
# Where does the class token look?
# --------------------------------
#
# The weights of the last layer, averaged over the heads. A box marks the digit.

maps = model.attention_maps(X_test, layer=-1).mean(1)
maps = maps / maps.sum((1, 2), keepdims=True)
right = np.flatnonzero(model.predict(X_test) == y_test)
shown = [right[y_test[right] == digit][0] for digit in range(10)]
fig, axes = plt.subplots(2, 10, figsize=(10, 2.3), layout="constrained")
for column, number in zip(axes.T, shown, strict=True):
    column[0].imshow(X_test[number].reshape(SIDE, SIDE), cmap="gray_r")
    extent = (-0.5, SIDE - 0.5, SIDE - 0.5, -0.5)
    column[1].imshow(maps[number], cmap="magma", extent=extent)
    top, left = places[number]
    for ax in column:
        box = plt.Rectangle((left - 0.5, top - 0.5), 8, 8, fill=False, ec="tab:green")
        ax.add_patch(box)
        ax.set(xticks=[], yticks=[])
axes[0, 0].set_ylabel("picture")
axes[1, 0].set_ylabel("attention")
plt.show()

# %%
# Is it more than chance?
# -----------------------
#
# The share of attention inside the box, against the share of the picture that the box takes. Every
# pixel gets the attention of its patch, spread evenly.

inside = np.zeros((len(places), SIDE, SIDE), dtype=bool)
for mask, (top, left) in zip(inside, places, strict=True):
    mask[top : top + 8, left : left + 8] = True
chance = inside.mean()
layers = range(N_LAYERS)
shares = []
for layer in layers:
    weights = model.attention_maps(X_test, layer=layer).mean(1)
    weights = weights / weights.sum((1, 2), keepdims=True)
    pixels = np.kron(weights, np.ones((PATCH, PATCH))) / PATCH**2
    shares.append((pixels * inside).sum((1, 2)))
fig, ax = plt.subplots(figsize=(4.5, 3), layout="constrained")
ax.boxplot(shares, tick_labels=[f"layer {layer + 1}" for layer in layers])
ax.axhline(chance, color="tab:gray", ls="--", label="chance: the area of the box")
ax.set(ylabel="share of attention on the digit", ylim=(0, 1))
ax.legend()
plt.show()
for layer, share in zip(layers, shares, strict=True):
    print(
        f"layer {layer + 1}: {share.mean():.2f} of the attention, {chance:.2f} by chance"
    )

# %%
# It looks at the digit: more than half of the attention lies in the box, which takes a sixth of the
# picture, and much of the rest in patches that the box cuts. The boundary of the support vectors,
# which compares whole pictures, does not survive the moves that attention follows.
