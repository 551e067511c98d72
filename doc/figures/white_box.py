"""Draw what a white box is, from numbers that the package computes.

Three linked rings are sent through a network of sixty layers, each of which is a step
up the rate reduction of what enters it. All that is drawn belongs to points that no
layer has been built from. Writes ``white_box_light.svg`` and ``white_box_dark.svg`` to
``doc/_static``; the same figures come out on every run on one machine::

    python doc/figures/white_box.py
"""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from sklearn.base import clone

from sklearn_whitebox import ReduNetClassifier

mpl.use("svg")
import matplotlib.pyplot as plt

STATIC = Path(__file__).parents[1] / "_static"
N_LAYERS = 60
SHOWN = [0, 5, 15, 60]
THEMES = {
    "light": {"ink": "#1f2933", "faint": "#9aa5b1", "map": "Purples"},
    "dark": {"ink": "#e6e9ed", "faint": "#6b7683", "map": "magma"},
}
CLASSES = ["#2a9d8f", "#e07a2f", "#8e6fd8"]
RATES = {
    "coding_rate": ("all points, $R$", "#3b82c4", "-"),
    "conditional_coding_rate": ("within the classes, $R_c$", "#c0578b", "-"),
    "rate_reduction": ("rate reduction, $\\Delta R = R - R_c$", None, "-"),
}


def linked_rings(n_samples, seed):
    """Draw points of three rings, each of which runs through the next."""
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(3), n_samples)
    angle = np.sort(rng.uniform(0, 2 * np.pi, (3, n_samples))).ravel()
    cosine, sine, zero = np.cos(angle), np.sin(angle), np.zeros(len(y))
    flat = np.stack([cosine + 1.2 * (y - 1), sine, zero], axis=1)
    upright = np.stack([cosine, zero, sine], axis=1)
    X = np.where((y == 1)[:, None], upright, flat)
    return X + 0.03 * rng.standard_normal(X.shape), y


def after(net, X, n_layers):
    """Features of unit length after the first layers of a network."""
    part = clone(net).set_params(n_layers=max(n_layers, 1))
    if n_layers == 0:
        part.set_params(step_size=1e-12)  # hands on what enters the first layer
    Z = part.fit(*linked_rings(200, seed=0)).transform(X)
    return Z / np.linalg.norm(Z, axis=1, keepdims=True)


def measure():
    """Build the network and measure what the figure shows."""
    net = ReduNetClassifier(
        N_LAYERS, lift="random_relu", n_channels=64, distortion=0.5, random_state=0
    ).fit(*linked_rings(200, seed=0))
    X, y = linked_rings(70, seed=1)
    features = {depth: after(net, X, depth) for depth in SHOWN}
    leading = []
    for k in range(3):
        axis = np.linalg.svd(features[N_LAYERS][y == k], full_matrices=False)[2][0]
        leading.append(axis * np.sign((features[N_LAYERS][y == k] @ axis).sum()))
    return {
        "points": X,
        "classes": y,
        "accuracy": net.score(X, y),
        "rates": net.layer_statistics(X, y),
        "cosines": {depth: np.abs(Z @ Z.T) for depth, Z in features.items()},
        "ends": features[N_LAYERS] @ np.array(leading).T,
    }


def draw(found, theme):
    """Draw one variant of the figure."""
    ink, faint = THEMES[theme]["ink"], THEMES[theme]["faint"]
    style = {
        "font.size": 10,
        "text.color": ink,
        "axes.edgecolor": faint,
        "axes.labelcolor": ink,
        "axes.titlesize": 10.5,
        "axes.facecolor": "none",
        "figure.facecolor": "none",
        "xtick.color": ink,
        "ytick.color": ink,
        "svg.hashsalt": "white-box",
    }
    with mpl.rc_context(style):
        fig = plt.figure(figsize=(10, 5.7))
        grid = fig.add_gridspec(
            2,
            12,
            height_ratios=[1.15, 1],
            hspace=0.34,
            wspace=0.5,
            left=0.02,
            right=0.985,
            top=0.94,
            bottom=0.06,
        )
        draw_cloud(fig.add_subplot(grid[0, :4], projection="3d"), found)
        draw_rates(fig.add_subplot(grid[0, 4:8]), found, ink)
        draw_ends(fig.add_subplot(grid[0, 8:], projection="3d"), found, faint)
        panels = [
            fig.add_subplot(grid[1, 3 * i : 3 * i + 3]) for i in range(len(SHOWN))
        ]
        draw_cosines(panels, found, THEMES[theme])
        path = STATIC / f"white_box_{theme}.svg"
        fig.savefig(path, transparent=True, metadata={"Date": None})
        plt.close(fig)
    print(path)


def draw_cloud(ax, found):
    """Draw the data."""
    for k, color in enumerate(CLASSES):
        ring = found["points"][found["classes"] == k]
        ax.scatter(*ring.T, color=color, s=7, depthshade=False)
    ax.set_title("Data: three linked rings")
    ax.set(xlim=(-2.3, 2.3), ylim=(-1.3, 1.3), zlim=(-1.2, 1.2))
    ax.set_box_aspect((4.6, 2.6, 2.4), zoom=1.25)
    ax.view_init(28, -62)
    ax.set_axis_off()


def draw_rates(ax, found, ink):
    """Draw the rates after every layer."""
    rates = found["rates"]
    layers = np.arange(len(rates["rate_reduction"]))
    for name, (label, color, style) in RATES.items():
        width = 2.4 if name == "rate_reduction" else 1.6
        ax.plot(layers, rates[name], style, color=color or ink, lw=width, label=label)
    gain = rates["rate_reduction"]
    for depth in SHOWN:
        ax.plot(depth, gain[depth], "o", color=ink, ms=5)
    ax.set_title("Every layer: a step up the rate reduction")
    ax.set(xlabel="layer", ylabel="nats per point", xlim=(-1, N_LAYERS + 1))
    ax.set_ylim(0, 1.5 * rates["coding_rate"].max())
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize=9, loc="upper left", labelspacing=0.3)


def draw_ends(ax, found, faint):
    """Draw the features along the leading direction of each class."""
    for axis in np.eye(3):
        ax.plot(*np.stack([0 * axis, 1.05 * axis], axis=1), color=faint, lw=1)
    for k, color in enumerate(CLASSES):
        ends = found["ends"][found["classes"] == k]
        ax.scatter(*ends.T, color=color, s=7, depthshade=False)
    ax.set_title("Features: a subspace for each ring")
    ax.set(xlim=(-0.3, 1.05), ylim=(-0.3, 1.05), zlim=(-0.3, 1.05))
    ax.set_box_aspect((1, 1, 1), zoom=1.35)
    ax.view_init(24, 40)
    ax.set_axis_off()


def draw_cosines(panels, found, theme):
    """Draw absolute cosines between all pairs of features."""
    across = found["classes"][:, None] != found["classes"]
    for ax, (depth, cosines) in zip(panels, found["cosines"].items(), strict=True):
        ax.imshow(cosines, cmap=theme["map"], vmin=0, vmax=1, interpolation="none")
        ax.set(xticks=[], yticks=[])
        gain = found["rates"]["rate_reduction"][depth]
        name = f"after layer {depth}" if depth else "lifted, before any layer"
        ax.set_title(f"{name}\n$\\Delta R$ = {gain:.2f} nats", fontsize=10)
        ax.set_xlabel(f"|cosine| across rings: {cosines[across].mean():.2f}")
        ax.spines[:].set_color(theme["faint"])


if __name__ == "__main__":
    measured = measure()
    for name in THEMES:
        draw(measured, name)
    print(f"accuracy on new points: {measured['accuracy']:.2f}")
