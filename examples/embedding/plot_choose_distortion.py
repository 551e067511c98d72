"""
Can distortion and dimension be chosen without test labels?
===========================================================

:class:`~sklearn_whitebox.RateReductionEmbedding` has two settings that shape the classes: the
`distortion` and the dimension. Its own score, the rate reduction, is not made to choose them, because
its scale depends on both. This example asks which score of *unlabelled* rows ranks settings as the accuracy
on labelled ones does.
"""

# %%
# Four scores in one search
# -------------------------
#
# The embedding is followed by :class:`~sklearn_whitebox.NearestSubspaceClassifier`, whose
# probabilities come from coding lengths and are tempered by samples left out. Of the four scores below,
# only *certainty* does without the labels of the rows that it judges: it is the mean negative entropy of
# the predicted probabilities.
import warnings

import matplotlib.pyplot as plt
import numpy as np
from scipy.special import xlogy
from scipy.stats import spearmanr
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline

from sklearn_whitebox import NearestSubspaceClassifier, RateReductionEmbedding
from sklearn_whitebox.functional import optimal_rate_reduction


def own_score(pipeline, X, y):
    return pipeline[0].score(X, y)


def share_of_attainable(pipeline, X, y):
    embedding = pipeline[0]
    optimum = optimal_rate_reduction(
        np.bincount(y), embedding.n_components_, distortion=embedding.distortion
    )
    return embedding.score(X, y) / optimum


def certainty(pipeline, X, y=None):
    probabilities = pipeline.predict_proba(X)
    return xlogy(probabilities, probabilities).sum(axis=1).mean()


def accuracy(pipeline, X, y):
    return pipeline.score(X, y)


# Fewer dimensions than classes have a warning; the search shall find out by itself.
warnings.filterwarnings("ignore", message="n_components=", category=UserWarning)
scores = [own_score, share_of_attainable, certainty, accuracy]
X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(
    X, y, train_size=900, stratify=y, random_state=0
)
pipeline = make_pipeline(
    RateReductionEmbedding(max_iter=30, random_state=0), NearestSubspaceClassifier()
)
grid = {
    "ratereductionembedding__n_components": [5, 10, 20, 40],
    "ratereductionembedding__distortion": [0.05, 0.2, 1.0, 5.0],
}
search = GridSearchCV(
    pipeline,
    grid,
    scoring={score.__name__: score for score in scores},
    refit="certainty",
    cv=2,
)
search.fit(X, y)

# %%
# Which score ranks the settings as accuracy does?
# ------------------------------------------------
results = search.cv_results_
dimension = results["param_ratereductionembedding__n_components"].astype(int)
distortion = results["param_ratereductionembedding__distortion"].astype(float)
reference = results["mean_test_accuracy"]
fig, axes = plt.subplots(1, 3, figsize=(10.5, 3.8), sharey=True, layout="constrained")
for ax, score in zip(axes, scores[:3], strict=True):
    values = results[f"mean_test_{score.__name__}"]
    points = ax.scatter(
        values,
        reference,
        c=np.log10(distortion),
        s=12 * np.sqrt(dimension),
        cmap="plasma",
    )
    correlation = spearmanr(values, reference).statistic
    chosen = reference[values.argmax()]
    name = score.__name__.replace("_", " ")
    ax.set(
        title=f"rank correlation {correlation:.2f}\nwould choose {chosen:.3f}",
        xlabel=name,
    )
    ax.locator_params(axis="x", nbins=4)
axes[0].set_ylabel("accuracy on held-out rows")
bar = fig.colorbar(
    points, ax=axes, ticks=np.log10(grid["ratereductionembedding__distortion"])
)
bar.ax.set_yticklabels(grid["ratereductionembedding__distortion"])
bar.set_label("distortion (larger points: more dimensions)")
plt.show()

# %%
# What the choice is worth
# ------------------------
#
# The search has been refitted with the setting that makes the classifier most certain, without a label
# of the rows it was certain about.
final = {name.split("__")[1]: value for name, value in search.best_params_.items()}
print(
    f"{final}: accuracy {search.best_estimator_.score(X_test, y_test):.3f} on new rows"
)

# %%
# No score finds the very best setting. The rate reduction grows with every dimension and with finer
# distortions, whether the classes are told apart or not; its share of the attainable misleads, being
# largest where little can be attained. How certain a classifier is about unlabelled rows tells settings
# with too few dimensions from the others, and beyond those the choice is worth about a hundredth.
