"""
Does a white-box transformer keep up with boosting on a table?
==============================================================

:class:`~sklearn_whitebox.CRATEClassifier` turns the columns of a table into a few tokens, which its
layers compress and sparsify. We compare it with gradient boosting and with logistic regression on two
small tables, and with itself without any layer. Then we look at what it offers besides: contributions
of the columns to each prediction, and a check whether they may be believed.
"""

# %%
# Two tables, four classifiers
# ----------------------------
import time

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_whitebox import CRATEClassifier
from sklearn_whitebox.display import FeatureAttributionDisplay

tables = {"wine": load_wine, "breast cancer": load_breast_cancer}
# Half the networks of the default, to save time.
models = {
    "CRATE": CRATEClassifier(n_ensemble=4, random_state=0),
    "CRATE, no layers": CRATEClassifier(n_layers=0, n_ensemble=4, random_state=0),
    "boosting": HistGradientBoostingClassifier(random_state=0),
    "logistic regression": make_pipeline(StandardScaler(), LogisticRegression()),
}
measured = {}
for table, load in tables.items():
    X, y = load(return_X_y=True)
    X, X_test, y, y_test = train_test_split(
        X, y, test_size=0.3, stratify=y, random_state=0
    )
    for name, model in models.items():
        start = time.process_time()
        model.fit(X, y)
        seconds = time.process_time() - start
        loss = log_loss(y_test, model.predict_proba(X_test))
        measured[name, table] = model.score(X_test, y_test), loss, seconds

# %%
# How good, and how dear?
# -----------------------
#
# Whiskers are two standard errors of the accuracy: differences within them are those of a few rows.
fig, axes = plt.subplots(1, 3, figsize=(10, 3.6), layout="constrained")
labels = ["accuracy on new rows", "log-loss on new rows (nats)", "fit (CPU seconds)"]
n_test = np.array([54, 171])
for number, (ax, label) in enumerate(zip(axes, labels, strict=True)):
    for k, name in enumerate(models):
        values = np.array([measured[name, table][number] for table in tables])
        places = np.arange(2) + 0.2 * (k - 1.5)
        if number == 0:
            # Points, since bars would have to begin at zero.
            error = 2 * np.sqrt(values * (1 - values) / n_test)
            style = {"fmt": "os^D"[k], "capsize": 3}
            ax.errorbar(places, values, error, color=f"C{k}", label=name, **style)
        else:
            ax.bar(places, values, 0.2, color=f"C{k}")
    ax.set(ylabel=label, xticks=range(2))
    ax.set_xticklabels(list(tables))
axes[0].set_ylim(0.85, 1.005)
axes[2].set_yscale("log")
fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
plt.show()

# %%
# Which columns moved the predictions?
# ------------------------------------
#
# Each dot is a sample: how much the value of the column moved the log-odds of *malignant* away from
# those of a sample with median values. On the right, how much the log-loss on the same new rows grows
# when the column is shuffled.
display = FeatureAttributionDisplay.from_estimator(
    models["CRATE"],
    X_test,
    y_test,
    target=0,
    n_repeats=3,
    random_state=0,
    feature_names=load_breast_cancer().feature_names,
    max_features=10,
)
plt.show()
print(f"rank correlation of all 30 columns: {display.rank_correlation:.2f}")

# %%
# On tables this small nobody is ahead by more than the noise of the rows: what differs is the time, which
# speaks for boosting and, on breast cancer, for logistic regression. Without layers CRATE does as well as
# with them, so these two tables do not need what the layers do. What it has to offer is the second figure:
# contributions that add up to the log-odds exactly, and that name much the same columns as shuffling does.
