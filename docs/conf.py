"""How Sphinx makes the site from docs/: `bash scripts/docs.sh`."""

import sys
from pathlib import Path

import idbounds

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

project = "idbounds"
author = "idbounds contributors"
release = version = idbounds.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "docstrings", "mathml", "source_pages"]
# The folders of docs/results hold what runs wrote; results/index.md shows it.
exclude_patterns = ["_build", "extensions", "results/*/**"]

html_theme = "furo"
html_title = f"idbounds {release}"
html_math_renderer = "mathml"
html_copy_source = False

# The anchors that GitHub makes, so that a link to a heading works in both places.
myst_heading_anchors = 4
# ```math is a formula on GitHub too.
myst_fence_as_directive = ["math"]

autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "exclude-members": "model_config, model_post_init"}
autodoc_typehints = "both"
autodoc_typehints_description_target = "documented_params"
autodoc_typehints_format = "short"
# In docstrings `name` is code.
default_role = "literal"
# Quotation marks are often code.
smartquotes = False
