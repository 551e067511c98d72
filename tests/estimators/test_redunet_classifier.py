"""ReduNetClassifier: scikit-learn's contract, spec, copies, updates, bad input."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_whitebox.estimators._redunet_classifier import ReduNetClassifier

INSTANCES = [
    ReduNetClassifier(),
    ReduNetClassifier(3, lift="bias", n_components=2, balance_membership=False),
    ReduNetClassifier(3, lift="bias", chunk_size=7, compress_layers=1, class_weight={}),
    ReduNetClassifier(
        3, lift="random_relu", n_channels=8, compress_layers=None, forget=0.1
    ),
]


@parametrize_with_checks(INSTANCES, expected_failed_checks=None)
def test_follows_the_contract_of_scikit_learn(estimator, check):
    check(estimator)
