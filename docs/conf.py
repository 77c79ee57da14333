"""Sphinx: `sphinx-build -W --keep-going -b html docs OUT`, offline."""

from importlib import metadata

project = "deterministic"
author = "The deterministic authors"
project_copyright = author
try:
    release = metadata.version("deterministic")
except metadata.PackageNotFoundError:  # a checkout on sys.path, not installed
    release = "unreleased"
version = release

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = "deterministic"
html_static_path = ["_static"]
html_css_files = ["narrow.css"]
html_copy_source = False
html_show_sphinx = False

myst_heading_anchors = 3

# Docstrings write code between single backticks.
default_role = "code"
add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_type_aliases = {name: name for name in ("Level", "TraceLevel")}
napoleon_numpy_docstring = False
python_maximum_signature_line_length = 88
