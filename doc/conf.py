import inspect
import os
import sys
from pathlib import Path

from docutils import nodes

import sklearn_whitebox

sys.path.insert(0, str(Path(__file__).parent))  # for gallery_order

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
myst_enable_extensions = [
    "amsmath",
    "attrs_inline",
    "attrs_block",
    "colon_fence",
    "deflist",
    "dollarmath",
]
myst_heading_anchors = 3
source_suffix = {".rst": "restructuredtext", ".md": "markdown"}
exclude_patterns = ["_build", "_templates", "README.md"]
templates_path = ["_templates"]

autosummary_generate = True
autodoc_typehints = "none"
toc_object_entries_show_parents = "hide"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
numpydoc_xref_param_type = False

# References into this package must resolve; those into others need the network.
nitpick_ignore_regex = [("py:.*", r"(?!sklearn_whitebox).*")]
# DOC_INTERSPHINX=1 links names of other projects to their pages.
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
    "ignore_pattern": r"/_|__init__\.py",
    "subsection_order": [
        f"../examples/{group}"
        for group in (
            "start",
            "clustering",
            "dictionary",
            "embedding",
            "crate",
            "images",
        )
    ]
    + ["*"],
    "within_subsection_order": "gallery_order.ReadingOrder",
    "doc_module": ("sklearn_whitebox",),
    "backreferences_dir": "generated/backreferences",
    "inspect_global_variables": False,
    "thumbnail_size": (400, 280),
    "write_computation_times": False,
    "show_memory": False,
    "download_all_examples": False,
    "remove_config_comments": True,
    "reset_modules": ("matplotlib",),
}

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
copybutton_exclude = ".linenos, .gp, .go"

html_theme = "pydata_sphinx_theme"
html_title = "sklearn_whitebox"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "_static/logo_light.svg"
html_theme_options = {
    "logo": {
        "text": "sklearn_whitebox",
        "alt_text": "sklearn_whitebox, to the start page",
        "image_light": "_static/logo_light.svg",
        "image_dark": "_static/logo_dark.svg",
    },
    "header_links_before_dropdown": 6,
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "secondary_sidebar_items": ["page-toc"],
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "footer_start": ["copyright"],
    "footer_end": [],
}
# Pages that stand alone have no section to show beside them.
html_sidebars = {
    name: []
    for name in (
        "index",
        "installation",
        "tutorial",
        "choosing",
        "reproducibility",
        "devices",
        "scaling",
        "glossary",
        "whats_new",
    )
}
html_show_sourcelink = False
html_use_index = False
html_domain_indices = False


def skip_inherited(app, what, name, item, skip, options):
    """Leave out what the base classes of other packages document themselves."""
    module = getattr(inspect.unwrap(item) if callable(item) else item, "__module__", "")
    return skip or bool(module and not module.startswith("sklearn_whitebox"))


def link_scikit_learn(app, env, node, content):
    """Link names of scikit-learn without its index: its addresses are those names."""
    target = node.get("reftarget", "")
    if node.get("reftype") not in {"class", "func"} or not target.startswith(
        "sklearn."
    ):
        return None
    address = f"https://scikit-learn.org/stable/modules/generated/{target}.html"
    return nodes.reference("", "", content, refuri=address, internal=False)


def trim_code(app, doctree):
    """Drop the empty line that doctest wants before the end of a fenced block."""
    for block in doctree.findall(nodes.literal_block):
        text = block.astext().rstrip("\n")
        if block.rawsource == block.astext():
            block.rawsource = text
            block.children = [nodes.Text(text)]


def setup(app):
    app.connect("doctree-read", trim_code)
    app.connect("autodoc-skip-member", skip_inherited)
    app.connect("missing-reference", link_scikit_learn)
