"""
Do sparse codes help a linear classifier?
=========================================

A linear classifier of pixels can only weigh pixels. If every image is first written with a few
strokes out of many, the same classifier weighs strokes. The dictionary is a step of a pipeline like
any other: fitted inside each fold, tuned together with the classifier.
"""

# %%
# A pipeline
# ----------
# Images of handwritten digits, sparse codes on more atoms than pixels with positive and negative
# parts as separate features, and a linear support vector machine. A grid search chooses the weight
# of the ℓ1 norm and the penalty of the classifier; no test image is seen by either.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.svm import LinearSVC

from sklearn_whitebox import SparseDictionaryLearner

X, y = load_digits(return_X_y=True)
X = X / np.sqrt(np.mean(np.sum(X**2, axis=1)))
X, X_test, y, y_test = train_test_split(X, y, test_size=0.4, random_state=0)

pipeline = Pipeline(
    [
        (
            "codes",
            SparseDictionaryLearner(
                2 * X.shape[1], split_sign=True, max_iter=20, tol=1e-2, random_state=0
            ),
        ),
        ("classifier", LinearSVC(max_iter=5000, random_state=0)),
    ]
)
alphas, penalties = [0.05, 0.1, 0.2, 0.4], [0.1, 0.3, 1, 3]
search = GridSearchCV(
    pipeline,
    {"codes__alpha": alphas, "classifier__C": penalties},
    cv=3,
).fit(X, y)
print(search.best_params_)

# %%
# What the search saw
# -------------------
scores = np.reshape(
    search.cv_results_["mean_test_score"], (len(penalties), len(alphas))
)
fig, axes = plt.subplots(1, 2, figsize=(9.5, 4), layout="constrained")
image = axes[0].imshow(scores, origin="lower", aspect="auto", vmax=scores.max() + 0.01)
axes[0].set_xticks(range(len(alphas)), alphas)
axes[0].set_yticks(range(len(penalties)), penalties)
axes[0].set(xlabel="alpha of the codes", ylabel="C of the classifier")
for i, j in np.ndindex(scores.shape):
    axes[0].text(j, i, f"{scores[i, j]:.3f}", ha="center", va="center", color="white")
axes[0].set_title("accuracy in cross-validation")

rivals = {
    "pixels": "passthrough",
    "principal components": PCA(40, random_state=0),
}
accuracy = {}
for name, step in rivals.items():
    rival = Pipeline([("codes", step), ("classifier", LinearSVC(max_iter=20_000))])
    rival = GridSearchCV(rival, {"classifier__C": [0.03, *penalties]}, cv=3)
    accuracy[name] = rival.fit(X, y).score(X_test, y_test)
accuracy["sparse codes"] = search.score(X_test, y_test)
# Points, since bars would have to begin at zero.
axes[1].plot(list(accuracy.values()), list(accuracy), "o", color="tab:blue")
axes[1].set(xlim=(0.9, 1), title="accuracy on unseen digits")
axes[1].margins(y=0.3)
axes[1].grid(axis="x", alpha=0.3)
for position, value in enumerate(accuracy.values()):
    axes[1].text(value - 0.003, position, f"{value:.3f}", ha="right", va="center")
plt.show()

# %%
# What the classifier reads
# -------------------------
# A digit, the atoms of its code with the largest coefficients, and their sum.
model = search.best_estimator_.named_steps["codes"]
codes = model.transform(X_test[:4])
k = len(model.components_)
codes = codes[:, :k] - codes[:, k:]
fig, axes = plt.subplots(4, 7, figsize=(9, 5.4), layout="constrained")
for row, x, code in zip(axes, X_test, codes, strict=False):
    largest = np.argsort(-np.abs(code))[:5]
    pictures = [x, *model.components_[largest], code @ model.components_]
    titles = ["digit", *(f"{code[j]:+.2f} ×" for j in largest), "sum of all"]
    for ax, picture, title in zip(row, pictures, titles, strict=True):
        limit = np.abs(picture).max()
        ax.imshow(picture.reshape(8, 8), cmap="RdBu_r", vmin=-limit, vmax=limit)
        ax.set(xticks=[], yticks=[])
        ax.set_title(title, fontsize=8)
plt.show()

# %%
# Codes on twice as many atoms as pixels let a linear classifier make fewer errors than pixels or
# principal components do, and each code says which shapes it has seen.
