"""What ``skops.io.load`` has to be told to trust for the models of this package."""

from sklearn_whitebox.persistence._estimators import REGISTRY

# Beside the estimators: affinity matrices, graphs as scikit-learn makes them, and
# devices given as objects.
_VALUES = (
    "scipy.sparse._csr.csr_array",
    "scipy.sparse._csr.csr_matrix",
    "torch.device",
)

#: Names of all types that a model of this package holds and skops does not know.
SKOPS_TRUSTED = sorted(
    [f"{cls.__module__}.{cls.__qualname__}" for cls in REGISTRY.values()] + [*_VALUES]
)
