"""Classifiers by name, each at its defaults, on one thread.

A maker takes a table (for the names of its nominal columns) and a seed and gives an
unfitted estimator that takes the table's DataFrame. Methods that know nominal columns
get them as they are; for the others they are one-hot coded. Columns are scaled for
those that need it.
"""

from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC

# What a name of the command line is called in tables and figures.
LABELS = {
    "logistic": "LogisticRegression",
    "svc": "SVC(C=10)",
    "forest": "RandomForest",
    "histgb": "HistGradientBoosting",
    "mlp": "MLPClassifier",
    "lightgbm": "LightGBM",
    "xgboost": "XGBoost",
    "catboost": "CatBoost",
    "realmlp": "RealMLP-TD",
    "tabm": "TabM-D",
    "ftt": "FT-Transformer",
    "skorch": "skorch MLP",
    "crate": "CRATE",
    "crate-0": "CRATE, no layers",
    "crate-tssa": "CRATE, TSSA",
    "crate-odl": "CRATE, ODL",
    "crate-mlp": "CRATE, MLP",
    "crate-attention": "CRATE, attention only",
}
OURS = tuple(name for name in LABELS if name.startswith("crate"))
VARIANTS = tuple(name for name in OURS if name != "crate")
PEERS = tuple(name for name in LABELS if name not in OURS)


def make(name, table, seed):
    """Return an unfitted classifier."""
    return _MAKERS[name](table, seed)


def count_parameters(estimator):
    """Return the number of fitted weights, or None where none are counted."""
    if hasattr(estimator, "steps"):
        return count_parameters(estimator.steps[-1][1])
    if hasattr(estimator, "n_parameters_"):
        return int(estimator.n_parameters_)
    if hasattr(estimator, "coefs_"):
        arrays = [*estimator.coefs_, *estimator.intercepts_]
        return int(sum(array.size for array in arrays))
    if hasattr(estimator, "coef_") and isinstance(estimator, LogisticRegression):
        return int(estimator.coef_.size + estimator.intercept_.size)
    return _count_inside(estimator) or None


def prepared(table, estimator, scaled=True):
    """Make a pipeline that one-hot codes nominal columns and scales the others."""
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    columns = ColumnTransformer(
        [
            ("numeric", StandardScaler() if scaled else "passthrough", table.numeric),
            ("nominal", one_hot, table.nominal),
        ]
    )
    return make_pipeline(columns, estimator)


def _svc(table, seed):
    # Platt's scaling inside libsvm: its pairwise coupling gives a better log-loss for
    # several classes than one sigmoid per class.
    return prepared(table, SVC(C=10, probability=True, random_state=seed))


def _forest(table, seed):
    forest = RandomForestClassifier(n_jobs=1, random_state=seed)
    return prepared(table, forest, scaled=False)


def _lightgbm(table, seed):
    from lightgbm import LGBMClassifier

    return LGBMClassifier(n_jobs=1, verbosity=-1, random_state=seed)


def _xgboost(table, seed):
    from xgboost import XGBClassifier

    return XGBClassifier(n_jobs=1, enable_categorical=True, random_state=seed)


def _catboost(table, seed):
    from catboost import CatBoostClassifier

    return CatBoostClassifier(
        thread_count=1,
        cat_features=table.nominal,
        allow_writing_files=False,
        verbose=0,
        random_state=seed,
    )


def _pytabkit(name):
    def maker(table, seed):
        import pytabkit

        classifier = getattr(pytabkit, name)
        return classifier(device="cpu", n_threads=1, random_state=seed)

    return maker


def _skorch(table, seed):
    from perceptron import make_perceptron

    return prepared(table, make_perceptron(seed))


def _crate(**settings):
    def maker(table, seed):
        from sklearn_whitebox import CRATEClassifier

        return CRATEClassifier(**settings, random_state=seed)

    return maker


_MAKERS = {
    "logistic": lambda table, _: prepared(table, LogisticRegression(max_iter=1000)),
    "svc": _svc,
    "forest": _forest,
    "histgb": lambda _, seed: HistGradientBoostingClassifier(random_state=seed),
    "mlp": lambda table, seed: prepared(table, MLPClassifier(random_state=seed)),
    "lightgbm": _lightgbm,
    "xgboost": _xgboost,
    "catboost": _catboost,
    "realmlp": _pytabkit("RealMLP_TD_Classifier"),
    "tabm": _pytabkit("TabM_D_Classifier"),
    "ftt": _pytabkit("FTT_D_Classifier"),
    "skorch": _skorch,
    "crate": _crate(),
    "crate-0": _crate(n_layers=0),
    "crate-tssa": _crate(attention="tssa"),
    "crate-odl": _crate(sparsifier="odl"),
    "crate-mlp": _crate(sparsifier="mlp"),
    "crate-attention": _crate(sparsifier=None),
}


def _count_inside(thing, depth=8, seen=None):
    """Size of the largest network among the attributes of an object, deep inside."""
    from torch.nn import Module

    seen = set() if seen is None else seen
    if isinstance(thing, Module):
        return sum(p.numel() for p in thing.parameters())
    if depth == 0 or id(thing) in seen:
        return 0
    seen.add(id(thing))
    if isinstance(thing, (list, tuple)):
        inner = list(thing)
    elif isinstance(thing, dict):
        inner = list(thing.values())
    else:
        inner = list(getattr(thing, "__dict__", {}).values())
    return max((_count_inside(part, depth - 1, seen) for part in inner), default=0)
