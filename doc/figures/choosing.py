"""Draw the chart of the page on choosing an estimator, for wide and narrow screens.

Writes ``choosing.html`` beside this file: two inline SVG pictures made from one tree,
of which the style sheet shows the one that fits. Run it again after a change::

    python doc/figures/choosing.py
"""

from html import escape
from pathlib import Path

TARGET = Path(__file__).with_suffix(".html")

# A question is (text, [(answer, question or node), ...]); a node (name, page, purpose).
TREE = (
    "What do you know about each row?",
    [
        (
            "a class",
            (
                "What do you want?",
                [
                    ("predictions", ("CRATEClassifier", "crate", "tables and images")),
                    (
                        "a network without back-propagation",
                        (
                            "ReduNetClassifier",
                            "redunet",
                            "invariant to shifts, if asked",
                        ),
                    ),
                    (
                        "features",
                        (
                            "RateReductionEmbedding",
                            "rate_reduction_embedding",
                            "a subspace for each class",
                        ),
                    ),
                    (
                        "a rule that needs no training",
                        (
                            "NearestSubspaceClassifier",
                            "nearest_subspace",
                            "one subspace for each class",
                        ),
                    ),
                    (
                        "a rule for few rows",
                        (
                            "CodingLengthClassifier",
                            "coding_length_classification",
                            "the class it lengthens least",
                        ),
                    ),
                ],
            ),
        ),
        ("a number", ("CRATERegressor", "crate_regressor", "tables and images")),
        (
            "nothing: find clusters",
            (
                "How many are there?",
                [
                    (
                        "do not know",
                        (
                            "CodingLengthClusterer",
                            "coding_length_clustering",
                            "counts, and names outliers",
                        ),
                    ),
                    (
                        "known",
                        (
                            "SubspaceClusterer",
                            "subspace_clustering",
                            "the first to try",
                        ),
                    ),
                    (
                        "known, and there are many rows",
                        ("KSubspaces", "k_subspaces", "fast, dimensions per cluster"),
                    ),
                    (
                        "known, and one start is not enough",
                        (
                            "EnsembleKSubspaces",
                            "ensemble_k_subspaces",
                            "votes of many quick runs",
                        ),
                    ),
                    (
                        "known, and features wanted",
                        (
                            "RateReductionClusterer",
                            "rate_reduction_clustering",
                            "learns both together",
                        ),
                    ),
                ],
            ),
        ),
        (
            "nothing: find parts",
            (
                "What are the rows?",
                [
                    (
                        "signals, patches, tables",
                        (
                            "SparseDictionaryLearner",
                            "sparse_dictionaries",
                            "atoms and sparse codes",
                        ),
                    ),
                    (
                        "the same, coded in a hurry",
                        (
                            "LearnedSparseEncoder",
                            "learned_encoders",
                            "a few layers in place of a solver",
                        ),
                    ),
                    (
                        "activations of a network",
                        (
                            "SparseAutoencoder",
                            "sparse_autoencoder",
                            "features that neurons mix",
                        ),
                    ),
                ],
            ),
        ),
        (
            "an image, perhaps turned",
            ("PolarTransformer", "polar_transformer", "before ReduNetClassifier"),
        ),
    ],
)


def is_node(item):
    """Tell an estimator from a question."""
    return isinstance(item[1], str)


def box(x, y, width, height, lines, kind, link=None):
    """Return a box with lines of text, and a link around it if there is one."""
    step = 17
    first = y + height / 2 - step * (len(lines) - 1) / 2 + 5
    texts = "".join(
        f'<text x="{x + 12}" y="{first + step * i:g}" class="{name}" '
        f'font-size="{size}">{escape(text)}</text>'
        for i, (text, name, size) in enumerate(lines)
    )
    drawn = (
        f'<g class="{kind}"><rect x="{x}" y="{y}" width="{width}" height="{height}" '
        f'rx="7"/>{texts}</g>'
    )
    return f'<a href="user_guide/{link}.html">{drawn}</a>' if link else drawn


def answer(x, y, width, node):
    """Return the box of an estimator."""
    name, page, purpose = node
    return box(
        x, y, width, 44, [(name, "name", 14), (purpose, "why", 12)], "answer", page
    )


def elbow(x0, y0, x1, y1):
    """Return the line from a question to what follows from an answer."""
    middle = x0 + 14
    return f'<path class="edge" d="M{x0} {y0:g}H{middle}V{y1:g}H{x1}"/>'


def leaves(item):
    """Count the estimators below a question."""
    return 1 if is_node(item) else sum(leaves(child) for _, child in item[1])


def wide():
    """Draw the tree from left to right."""
    row, parts = 54, []
    columns, widths = [4, 190, 412, 716], [156, 200, 272, 236]

    words = plain("What do you know") + plain("about each row?")

    def place(item, top):
        middle = top + row * leaves(item) / 2
        parts.append(box(columns[0], middle - 24, widths[0], 48, words, "question"))
        for label, child in item[1]:
            centre = top + row * leaves(child) / 2
            parts.append(elbow(160, middle, columns[1], centre))
            if is_node(child):
                parts.append(
                    box(
                        columns[1], centre - 16, widths[1], 32, plain(label), "question"
                    )
                )
                parts.append(elbow(390, centre, columns[3], centre))
                parts.append(answer(columns[3], centre - 22, widths[3], child))
            else:
                two = [*plain(label), (child[0], "why", 12)]
                parts.append(
                    box(columns[1], centre - 24, widths[1], 48, two, "question")
                )
                for i, (detail, node) in enumerate(child[1]):
                    at = top + row * (i + 0.5)
                    parts.append(elbow(390, centre, columns[2], at))
                    parts.append(
                        box(
                            columns[2],
                            at - 16,
                            widths[2],
                            32,
                            plain(detail),
                            "question",
                        )
                    )
                    parts.append(elbow(684, at, columns[3], at))
                    parts.append(answer(columns[3], at - 22, widths[3], node))
            top += row * leaves(child)

    place(TREE, 4)
    return picture("choice-wide", 956, row * leaves(TREE) + 8, parts)


def narrow():
    """Draw the tree from top to bottom, one column wide."""
    parts, y = [], 4
    parts.append(box(4, y, 352, 34, plain(TREE[0]), "question"))
    y += 46
    for label, child in TREE[1]:
        start = y
        second = [] if is_node(child) else [(child[0], "why", 12)]
        height = 48 if second else 34
        parts.append(box(14, y, 342, height, [*plain(label), *second], "question"))
        y += height + 8
        for detail, node in [("", child)] if is_node(child) else child[1]:
            if detail:
                parts.append(
                    f'<text x="40" y="{y + 14}" font-size="13">{escape(detail)}</text>'
                )
                y += 21
            parts.append(f'<path class="edge" d="M24 {start + height}V{y + 22}H38"/>')
            parts.append(answer(38, y, 318, node))
            y += 54
        y += 8
    return picture("choice-narrow", 360, y, parts)


def plain(text):
    """Return one line of text as a box wants it."""
    return [(text, "", 13)]


def picture(name, width, height, parts):
    """Put the parts into an SVG element that scales to its column."""
    return (
        f'<svg class="choice {name}" viewBox="0 0 {width} {height:g}" role="group" '
        f'aria-label="Chart for choosing an estimator; the table below says the same" '
        f'xmlns="http://www.w3.org/2000/svg">\n' + "\n".join(parts) + "\n</svg>\n"
    )


def chart():
    """Return both pictures."""
    return wide() + narrow()


if __name__ == "__main__":
    TARGET.write_text(chart(), encoding="utf-8")
