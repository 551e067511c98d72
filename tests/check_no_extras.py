"""Fit and predict where no extra is installed; run as a script."""

import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

EXTRAS = (
    "matplotlib",
    "pandas",
    "polars",
    "pyarrow",
    "rich",
    "skops",
    "safetensors",
    "onnx",
    "dask",
)


def main():
    found = [name for name in EXTRAS if find_spec(name)]
    if found:
        sys.exit(f"this environment has extras: {', '.join(found)}")

    from sklearn.datasets import load_iris

    import sklearn_whitebox as whitebox
    from sklearn_whitebox.comparison import compare
    from sklearn_whitebox.display import AtomsDisplay

    X, y = load_iris(return_X_y=True)
    whitebox.CRATEClassifier(max_iter=2, random_state=0).fit(X, y).predict(X)
    embedding = whitebox.RateReductionEmbedding(2, max_iter=2, random_state=0)
    embedding.fit(X, y).transform(X)
    whitebox.SparseDictionaryLearner(random_state=0).fit(X).transform(X)
    whitebox.SubspaceClusterer(3, random_state=0).fit(X).predict(X)
    try:
        AtomsDisplay(X, image_shape=(2, 2)).plot()
    except ImportError as error:
        if "sklearn-whitebox[plot]" not in str(error):
            raise
    else:
        sys.exit("a display was drawn without matplotlib")
    with TemporaryDirectory() as folder:
        whitebox.save(embedding, Path(folder) / "model.safetensors")
        whitebox.load(Path(folder) / "model.safetensors").transform(X)
    results = compare(quick=True, estimators=["PCA"], verbose=0)
    if any("error" in record for record in results["embeddings"]):
        sys.exit("the comparison failed without extras")
    print("works without extras")


if __name__ == "__main__":
    main()
