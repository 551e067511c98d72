from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_whitebox.estimators._sparse_dictionary_learner import (
    SparseDictionaryLearner,
)


@parametrize_with_checks(
    [
        SparseDictionaryLearner(),
        SparseDictionaryLearner(fit_algorithm="msp", whiten=False),
        SparseDictionaryLearner(fit_algorithm="online", max_iter=20),
        SparseDictionaryLearner(n_components=4, transform_algorithm="omp"),
        SparseDictionaryLearner(4, transform_algorithm="threshold", split_sign=True),
    ]
)
def test_estimator_keeps_the_contract_of_scikit_learn(estimator, check):
    check(estimator)
