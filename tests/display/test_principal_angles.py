import numpy as np
import pytest
from scipy.linalg import subspace_angles

from sklearn_whitebox import SubspaceClusterer
from sklearn_whitebox.datasets import make_union_of_subspaces
from sklearn_whitebox.display import PrincipalAngleDisplay

matplotlib = pytest.importorskip("matplotlib")


@pytest.fixture(autouse=True)
def axes():
    """Draw without a screen, and leave no figure open."""
    import matplotlib.pyplot as plt

    plt.switch_backend("Agg")
    yield plt.figure().add_subplot()
    plt.close("all")


def random_bases(rng, dims, n_features):
    return [np.linalg.qr(rng.normal(size=(n_features, dim)))[0].T for dim in dims]


def tilted(degrees):
    """Span a plane of R^5 and one at two known angles to it."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.eye(5)[:2], np.array([[c[0], 0, s[0], 0, 0], [0, c[1], 0, s[1], 0]])


@pytest.mark.parametrize(
    ("statistic", "expected"), [("smallest", 1e-7), ("mean", 35.0), ("largest", 70.0)]
)
def test_known_angles_are_found_to_many_digits(statistic, expected):
    first, second = tilted([1e-7, 70.0])
    display = PrincipalAngleDisplay.from_bases([first, second], statistic=statistic)
    np.testing.assert_allclose(display.angles[0, 1], expected, rtol=1e-7)
    np.testing.assert_array_equal(display.angles, display.angles.T)
    np.testing.assert_array_equal(np.diag(display.angles), 0)


def test_angles_of_subspaces_of_different_dimension_agree_with_scipy(rng):
    bases = random_bases(rng, [1, 3, 4], 9)
    angles = PrincipalAngleDisplay.from_bases(bases).angles
    for i in range(3):
        for j in range(i):
            reference = np.rad2deg(subspace_angles(bases[i].T, bases[j].T))
            np.testing.assert_allclose(angles[i, j], reference.min())


def test_angles_do_not_depend_on_the_basis_nor_on_rotation(rng):
    bases = random_bases(rng, [2, 3], 7)
    rotation = np.linalg.qr(rng.normal(size=(7, 7)))[0]
    other = [rng.normal(size=(len(b), len(b))) @ b @ rotation for b in bases]
    np.testing.assert_allclose(
        PrincipalAngleDisplay.from_bases(other).angles,
        PrincipalAngleDisplay.from_bases(bases).angles,
        atol=1e-8,
    )


def test_subspaces_that_share_or_avoid_directions_are_at_0_or_90_degrees():
    space = np.eye(4)
    angles = PrincipalAngleDisplay.from_bases([space[:2], space[1:3], space[3:]]).angles
    np.testing.assert_allclose(angles[0], [0, 0, 90])


def test_plot_draws_on_given_axes_and_returns_itself(rng, axes):
    display = PrincipalAngleDisplay.from_bases(random_bases(rng, [2, 2], 5), ax=axes)
    assert display.ax_ is axes
    assert display.figure_ is axes.figure
    assert display.im_ in axes.images
    display.figure_.canvas.draw()
    assert display.plot(colorbar=False) is display
    assert display.ax_ is not axes
    display.figure_.canvas.draw()


def test_cells_hold_rounded_angles_and_dimensions():
    display = PrincipalAngleDisplay.from_bases(tilted([30.0, 60.0]))
    texts = [[text.get_text() for text in row] for row in display.text_]
    assert texts == [["dim\n2", "30"], ["30", "dim\n2"]]


@pytest.mark.parametrize(
    ("n_clusters", "annotate", "written"),
    [(12, None, True), (13, None, False), (13, True, True), (2, False, False)],
)
def test_few_clusters_are_annotated(rng, n_clusters, annotate, written):
    bases = random_bases(rng, [1] * n_clusters, 3)
    display = PrincipalAngleDisplay.from_bases(bases, annotate=annotate)
    assert (display.text_ is not None) == written


def test_labels_name_both_axes(rng):
    bases = random_bases(rng, [1, 2], 3)
    display = PrincipalAngleDisplay.from_bases(bases, labels=["line", "plane"])
    for axis in (display.ax_.xaxis, display.ax_.yaxis):
        assert [t.get_text() for t in axis.get_ticklabels()] == ["line", "plane"]


@pytest.mark.parametrize("affine", [False, True])
def test_bases_come_from_a_fitted_clusterer(affine):
    X, _ = make_union_of_subspaces(
        90, 12, n_subspaces=3, subspace_dim=2, offset=float(affine), random_state=0
    )
    clusterer = SubspaceClusterer(
        3, method="ridge", affine=affine, random_state=0, n_init=1
    ).fit(X)
    display = PrincipalAngleDisplay.from_estimator(clusterer)
    assert display.angles.shape == (3, 3)
    np.testing.assert_array_equal(display.subspace_dims, clusterer.subspace_dims_)


def test_a_point_has_no_angles(rng):
    bases = [np.empty((0, 3)), *random_bases(rng, [1, 2], 3)]
    display = PrincipalAngleDisplay.from_bases(bases)
    assert np.isnan(display.angles[0]).all()
    assert np.isfinite(display.angles[1:, 1:]).all()
    display.figure_.canvas.draw()


@pytest.mark.parametrize(
    ("bases", "settings", "message"),
    [
        ([], {}, "bases is empty"),
        ([np.ones(3)], {}, r"bases\[0\] should be a matrix"),
        ([np.eye(2), np.eye(3)], {}, r"bases\[1\] has 3 features, but bases\[0\] has"),
        ([np.eye(2) * np.nan], {}, r"bases\[0\] holds NaN"),
        ([np.eye(2)], {"labels": ["a", "b"]}, "labels has 2 names for 1 bases"),
        ([np.eye(2)], {"statistic": "median"}, "statistic='median' should be one of"),
    ],
)
def test_bad_input_is_refused_with_its_name(bases, settings, message):
    with pytest.raises(ValueError, match=message):
        PrincipalAngleDisplay.from_bases(bases, **settings)


def test_unfitted_estimators_are_refused():
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError):
        PrincipalAngleDisplay.from_estimator(SubspaceClusterer())


def test_any_object_with_bases_will_do():
    from sklearn.base import BaseEstimator

    class Fitted(BaseEstimator):
        bases_ = (np.eye(3)[:1], np.eye(3)[1:])

        def fit(self, X, y=None):
            return self

    display = PrincipalAngleDisplay.from_estimator(Fitted())
    assert display.angles[0, 1] == pytest.approx(90)
