"""
What does each layer of a white-box transformer do to a digit?
==============================================================

Every layer of :class:`~sklearn_whitebox.CRATEClassifier` is meant to compress the tokens of an
image towards a few subspaces and then to make them sparse. We train one on the digits, look at
what the class token reads, and measure whether the layers do what they are meant to.
"""

# %%
# Train on sixteen tokens per image
# ---------------------------------
#
# Two convolutions look at the pixels around every patch of 2 x 2. Images are altered a little in
# training: moved, turned and scaled.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sklearn_whitebox import CRATEClassifier

X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(X, y, test_size=0.3, stratify=y, random_state=0)
model = CRATEClassifier(
    image_shape=(8, 8),
    patch_size=2,
    n_layers=3,
    pool="class",
    max_iter=15,
    random_state=0,
)
model.fit(X, y)
print(f"accuracy on unseen digits: {model.score(X_test, y_test):.3f}")

# %%
# What does the class token read?
# -------------------------------
#
# The attention of the class token over the 4 x 4 patches, averaged over the heads, for one digit
# of each class. Its weight on itself is left out.

shown = np.array([np.flatnonzero(y_test == digit)[0] for digit in range(10)])
fig, axes = plt.subplots(4, 10, figsize=(10, 4.4), layout="constrained")
for ax, image in zip(axes[0], X_test[shown], strict=True):
    ax.imshow(image.reshape(8, 8), cmap="gray_r")
for layer in range(3):
    maps = model.attention_maps(X_test[shown], layer=layer).mean(1)
    for ax, attention in zip(axes[layer + 1], maps, strict=True):
        ax.imshow(attention, cmap="magma")
for ax in axes.flat:
    ax.set(xticks=[], yticks=[])
for ax, label in zip(
    axes[:, 0], ["digit", "layer 1", "layer 2", "layer 3"], strict=True
):
    ax.set_ylabel(label)
plt.show()

# %%
# Do the layers compress and sparsify?
# ------------------------------------
#
# The coding rate is that of tokens of unit length; the lasso objective is the one whose proximal
# step the layer takes.

found = model.layer_statistics(X_test)
layers = np.arange(1, 4)
fig, axes = plt.subplots(1, 3, figsize=(10, 3), layout="constrained")
axes[0].plot(layers, found["coding_rate"], "o-", label="before attention")
axes[0].plot(layers, found["coding_rate_half"], "s--", label="after attention")
axes[0].set(ylabel="coding rate (nats)")
axes[0].legend()
axes[1].bar(layers, found["nonzero_fraction"])
axes[1].set(ylabel="share of non-zero entries", ylim=(0, 1))
axes[2].plot(layers, found["lasso_before"], "o-", label="before the sparse step")
axes[2].plot(layers, found["lasso_after"], "s--", label="after")
axes[2].set(ylabel="lasso objective per token", ylim=(0, None))
axes[2].legend(loc="lower left")
for ax in axes:
    ax.set(xlabel="layer", xticks=layers)
plt.show()

# %%
# Every layer does both: the rate of the tokens falls with each attention, and one sparse step lowers
# its objective by a quarter or more and leaves less than half of the entries different from zero.
# But the rate need not fall from layer to layer: the sparse step, which knows nothing of the
# subspaces, may undo what attention gained. The class token reads strokes that tell digits apart,
# and other ones in each layer.
