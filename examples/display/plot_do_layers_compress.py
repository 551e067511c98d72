"""
Do the layers compress?
=======================

Three networks of this package are built from layers with a stated purpose. A ReduNet layer
raises the rate of all features and lowers that of each class; a layer of a learnt sparse
encoder lowers the lasso objective; a CRATE layer compresses its tokens in the subspaces of
its heads and then makes them sparse. Stated purposes can be checked, layer by layer.
"""

# %%
# ReduNet: expand everything, compress each class
# -----------------------------------------------
# On unseen digits, and without training by gradients. The rate of all features more than
# doubles while that inside the classes hardly moves; the gap is the rate reduction. The
# classes that the layers estimate agree with the true ones.
import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sklearn_whitebox import CRATEClassifier, LearnedSparseEncoder, ReduNetClassifier
from sklearn_whitebox.display import LayerStatisticsDisplay, LossCurveDisplay

X, y = load_digits(return_X_y=True)
X = X / 16
X, X_test, y, y_test = train_test_split(X, y, test_size=0.3, stratify=y, random_state=0)
redunet = ReduNetClassifier(30, random_state=0).fit(X, y)
LayerStatisticsDisplay.from_estimator(
    redunet, X_test, y_test, panels=["rate", "reduction"]
)
plt.show()

# %%
# A learnt encoder: towards the exact codes
# -----------------------------------------
# The untrained network takes steps of iterative soft-thresholding, each of which lowers the
# objective a little. Trained on the objective of the last layer only, the same eight layers
# get much closer to the exact codes, though nothing makes every single one go downwards.
fig, axes = plt.subplots(1, 2, figsize=(8.4, 3.4), layout="constrained")
for ax, max_iter, name in ((axes[0], 0, "untrained"), (axes[1], 20, "trained")):
    encoder = LearnedSparseEncoder(
        n_components=96, n_layers=8, max_iter=max_iter, random_state=0
    ).fit(X)
    LayerStatisticsDisplay.from_estimator(encoder, X_test, panels=["lasso"], ax=ax)
    ax.set_title(name)
axes[1].sharey(axes[0])
plt.show()

# %%
# A small transformer: less sure
# ------------------------------
# Its layers are trained for the labels only, and nothing forces a layer to take the step it
# was derived from. Below the rate before and after the compression of each layer, the share
# of entries that are not zero, the objective of the sparse step, and the share of the energy
# of the tokens in the subspace of each head.
crate = CRATEClassifier(
    image_shape=(8, 8),
    patch_size=2,
    n_layers=4,
    d_token=32,
    n_heads=4,
    n_ensemble=1,
    max_iter=8,
    early_stopping=False,
    random_state=0,
).fit(X, y)
LayerStatisticsDisplay.from_estimator(crate, X_test)
plt.show()

# %%
# And the fits themselves
# -----------------------
fig, axes = plt.subplots(1, 2, figsize=(8.4, 3.4), layout="constrained")
for ax, model in zip(axes, (redunet, crate), strict=True):
    LossCurveDisplay.from_estimator(model, ax=ax)
    ax.set_title(type(model).__name__)
plt.show()

# %%
# The constructed network does what its layers are for, on rows it has not seen, and so does
# the learnt encoder. Every layer of the transformer lowers the objective of its sparse step
# and keeps less than half of the entries; its later layers compress, the first hardly does.
