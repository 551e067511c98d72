import inspect
import os

import sklearn_whitebox

project = "sklearn_whitebox"
author = "The sklearn_whitebox developers"
copyright = f"2026, {author}"
version = release = sklearn_whitebox.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
source_suffix = {".rst": "restructuredtext", ".md": "markdown"}
exclude_patterns = ["_build", "_templates", "README.md"]
templates_path = ["_templates"]

autosummary_generate = True
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
numpydoc_xref_param_type = False

# Other projects' indices need the network: DOC_INTERSPHINX=1 turns the links on.
intersphinx_mapping = (
    {
        "numpy": ("https://numpy.org/doc/stable", None),
        "sklearn": ("https://scikit-learn.org/stable", None),
        "torch": ("https://docs.pytorch.org/docs/stable", None),
    }
    if os.environ.get("DOC_INTERSPHINX")
    else {}
)

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": "/plot_",
    "show_memory": False,
    "download_all_examples": False,
    "reset_modules": ("matplotlib",),
}

html_theme = "pydata_sphinx_theme"
html_title = "sklearn_whitebox"
html_theme_options = {"show_toc_level": 2, "navigation_with_keys": False}
html_show_sourcelink = False


def skip_inherited(app, what, name, item, skip, options):
    """Leave out what scikit-learn's base classes document themselves."""
    module = getattr(inspect.unwrap(item) if callable(item) else item, "__module__", "")
    return skip or bool(module and module.startswith("sklearn."))


def setup(app):
    app.connect("autodoc-skip-member", skip_inherited)
