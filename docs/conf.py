"""Configuration of the documentation site, which ``make docs`` builds without a network."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]

from repository import known_names  # noqa: E402

import sklearn_speechsent  # noqa: E402

project = "sklearn-speechsent"
author = "The sklearn-speechsent developers"
copyright = author
version = release = sklearn_speechsent.__version__

extensions = [
    "built_links",
    "mathml",
    "repository",
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["gallery/*.md5", "gallery/*.ipynb", "gallery/*.py"]
templates_path = ["_templates"]
default_role = "code"
language = "en"
nitpicky = True
# Other packages have their own sites, which a build without a network cannot look into.
nitpick_ignore_regex = [(r"py:.*", r"(?!sklearn_speechsent)\w+(\.\w+)+")]
suppress_warnings = ["config.cache"]

autosummary_generate = True
autodoc_typehints = "none"
autodoc_member_order = "groupwise"
numpydoc_show_class_members = False
numpydoc_xref_param_type = True
numpydoc_xref_ignore = "all"

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "deflist"]

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "within_subsection_order": "gallery_order.Taught",
    # Only plot_*.py: the others need a microphone, a server or an hour.
    "ignore_pattern": r"^(?!plot_)",
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("sklearn_speechsent",),
    "abort_on_example_error": True,
    "remove_config_comments": True,
    "show_memory": False,
    "thumbnail_size": (480, 270),
    "show_signature": False,
    "write_computation_times": False,
    "download_all_examples": False,
    "plot_gallery": "True",
}

html_theme = "pydata_sphinx_theme"
html_title = "sklearn-speechsent"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_logo = html_favicon = "_static/logo.svg"
html_math_renderer = "mathml"
html_copy_source = False
# Pages without others below them need the width more.
alone = ("index", "from_paper_to_code", "glossary", "gallery/*", "generated/repository/C*")
html_sidebars = {page: [] for page in alone}
html_context = {"default_mode": "auto"}
toc_object_entries_show_parents = "hide"
html_theme_options = {
    "logo": {"text": "sklearn-speechsent"},
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "navigation_with_keys": False,
    "navigation_depth": 2,
    "show_toc_level": 2,
    "pygments_light_style": "github-light",
    "pygments_dark_style": "github-dark",
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
    "back_to_top_button": True,
}


def skip_foreign_members(app, what, name, item, skip, options):
    """Leave out methods that scikit-learn, skorch and torch define, which document them."""
    module = getattr(getattr(item, "fget", item), "__module__", None) or ""
    return True if what == "class" and not module.startswith("sklearn_speechsent") else skip


def link_own_types(app, config):
    """Let types of parameters link to the classes of the package alone, not to Python's site."""
    names = known_names()
    config.numpydoc_xref_aliases_complete = {n: names[n] for n in names if n[0].isupper()}


def setup(app):
    """Connect what only this site needs."""
    app.connect("config-inited", link_own_types, priority=900)
    app.connect("autodoc-skip-member", skip_foreign_members)
