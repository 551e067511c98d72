from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_whitebox.estimators._subspace_clusterer import SubspaceClusterer


@parametrize_with_checks(
    [SubspaceClusterer(random_state=0), SubspaceClusterer(method="omp", random_state=0)]
)
def test_estimator_passes_the_checks_of_scikit_learn(estimator, check):
    check(estimator)
