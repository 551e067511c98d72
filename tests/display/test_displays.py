import numpy as np
import pytest
from scipy import sparse
from sklearn.decomposition import PCA

from sklearn_whitebox.display import (
    AffinityDisplay,
    AtomsDisplay,
    RateCurveDisplay,
    ScoreTimeDisplay,
)

matplotlib = pytest.importorskip("matplotlib")


@pytest.fixture(autouse=True)
def axes():
    """Draw without a screen, and leave no figure open."""
    import matplotlib.pyplot as plt

    plt.switch_backend("Agg")
    yield plt.figure().add_subplot()
    plt.close("all")


def displays():
    affinity = sparse.coo_array(np.tri(6, k=-2))
    return [
        AffinityDisplay(affinity, labels=[0, 1, 0, 1, 2, 2]),
        AtomsDisplay(np.eye(4), image_shape=(2, 2)),
        RateCurveDisplay({"PCA": [2]}, {"PCA": [1.0]}, attainable=([1, 2], [1, 2])),
        ScoreTimeDisplay(["a", "b"], [0.1, 0.2], [0, 0], [1, 2], highlighted=["a"]),
    ]


@pytest.mark.parametrize("display", displays(), ids=lambda d: type(d).__name__)
def test_plot_draws_on_given_axes_and_returns_itself(display, axes):
    assert display.plot(axes) is display
    assert display.ax_ is axes
    assert display.figure_ is axes.figure
    display.figure_.canvas.draw()


@pytest.mark.parametrize("display", displays(), ids=lambda d: type(d).__name__)
def test_plot_makes_a_figure_of_its_own(display):
    display.plot().figure_.canvas.draw()


def test_mosaic_holds_every_atom_scaled(rng):
    atoms = rng.normal(size=(5, 6))
    mosaic = AtomsDisplay(atoms, image_shape=(2, 3)).mosaic()
    assert mosaic.shape == (2 * 3 + 1, 3 * 4 + 1)
    np.testing.assert_allclose(
        mosaic[1:3, 1:4].ravel(), atoms[0] / np.abs(atoms[0]).max()
    )


def test_atoms_must_fit_the_image_shape():
    with pytest.raises(ValueError, match="image_shape=\\(3, 3\\) has 9 pixels"):
        AtomsDisplay(np.eye(4), image_shape=(3, 3)).plot()


def test_atoms_come_from_any_fitted_decomposition(rng):
    pca = PCA(3).fit(rng.normal(size=(20, 4)))
    display = AtomsDisplay.from_estimator(pca, image_shape=(2, 2))
    assert display.ax_.get_title() == "3 of 3 atoms"


def test_share_within_counts_affinity():
    affinity = np.array([[0, 3.0, 1.0], [0, 0, 0], [0, 0, 0]])
    assert AffinityDisplay(affinity, labels=[0, 0, 1]).share_within() == 0.75
    assert np.isnan(AffinityDisplay(np.zeros((2, 2)), labels=[0, 1]).share_within())
