"""Draw the figures of this benchmark from its JSON files.

python benchmarks/dictionary/draw.py
"""


def draw(path):
    pass
