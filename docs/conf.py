"""The site's settings: `make docs` builds it into docs/_build/html."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from hardfirst import __version__

project = "hardfirst"
version = release = __version__
copyright = "the hardfirst contributors"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "cards", "mathml"]
exclude_patterns = ["_build", "_made"]
default_role = "code"  # docstrings write `gamma`

html_theme = "furo"
html_title = f"hardfirst {__version__}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False

myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3

napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True

nitpicky = True
nitpick_ignore_regex = [
    # other projects' inventories would take a network; what is hardfirst's own has to resolve
    (r"py:.*", r"(?!hardfirst).*"),
    (r"py:.*", r"hardfirst(_scenes)?\.(.*\.)?_.*"),
    # in signatures of what is documented, but nothing that a user makes
    (
        r"py:class",
        r"hardfirst\.(networks\.layers\.Gate|studies\.executors\.drive\.Event|report\.model\.case\.Case|report\.html\.page\.Live"
        r"|records\.table_card\.TableCard)",
    ),
]
