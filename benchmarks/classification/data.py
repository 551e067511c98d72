"""Tables by name, and the folds that all methods share."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import fetch_openml, load_breast_cancer, load_iris, load_wine
from sklearn.model_selection import StratifiedKFold

SHIPPED = {"iris": load_iris, "wine": load_wine, "breast_cancer": load_breast_cancer}
# Sets on which defaults of this package were chosen; all others were first looked at
# when these defaults were settled.
DEVELOPMENT = (
    "phoneme", "ionosphere", "sonar", "segment", "pima", "vehicle", "contraceptive",
    "vowel", "satimage", "tic_tac_toe",
)  # fmt: skip
UNSEEN = (
    "banana", "chess", "led7digit", "letter", "mammographic", "movement_libras",
    "optdigits", "penbased", "spambase", "titanic", "wdbc", "wisconsin",
)  # fmt: skip
TABLES = (*DEVELOPMENT, *UNSEEN)
# Where OpenML has the set; its copies may differ in rows and coding from KEEL's.
_OPENML = {
    "phoneme": 1489, "ionosphere": 59, "sonar": 40, "segment": 36, "pima": 37,
    "vehicle": 54, "contraceptive": 23, "vowel": 307, "satimage": 182,
    "tic_tac_toe": 50, "banana": 1460, "chess": 3, "letter": 6, "optdigits": 28,
    "penbased": 32, "spambase": 44, "wdbc": 1510, "wisconsin": 15,
}  # fmt: skip
N_FOLDS = 5


@dataclass(frozen=True)
class Table:
    """A table: nominal columns of category dtype, the others of float64."""

    name: str
    X: pd.DataFrame
    y: np.ndarray

    @property
    def nominal(self):
        """Names of the nominal columns."""
        return [c for c in self.X if self.X[c].dtype == "category"]

    @property
    def numeric(self):
        """Names of the other columns."""
        return [c for c in self.X if self.X[c].dtype != "category"]


def load(name, data_dir=None):
    """Load a table, or None if it is not to be had here."""
    if name in SHIPPED:
        X, y = SHIPPED[name](return_X_y=True, as_frame=True)
        return Table(name, X, np.asarray(y))
    path = Path(data_dir or "") / f"tab_{name}.npz"
    if data_dir and path.exists():
        with np.load(path, allow_pickle=False) as archive:
            values, y, nominal = archive["X"], archive["y"], archive["categorical"]
        names = [f"f{i}" for i in range(values.shape[1])]
        X = pd.DataFrame(values.astype(np.float64), columns=names)
        for column in np.array(names)[nominal]:
            X[column] = X[column].astype(np.int64).astype("category")
        return Table(name, X, y)
    if data_dir or name not in _OPENML:
        return None
    try:
        X, y = fetch_openml(
            data_id=_OPENML[name], return_X_y=True, as_frame=True, parser="auto"
        )
    except OSError as error:
        print(f"{name}: {error}")
        return None
    kept = ~X.isna().any(axis=1)
    return Table(name, X[kept], np.unique(y[kept], return_inverse=True)[1])


def folds(table):
    """Training and test rows of the five folds, the same for everybody."""
    splitter = StratifiedKFold(N_FOLDS, shuffle=True, random_state=0)
    return list(splitter.split(table.X, table.y))


def data_dir_default():
    """Return the folder of data named by the environment."""
    return os.environ.get("SKLEARN_WHITEBOX_DATA")
