"""How the documentation is built: MyST Markdown, furo, every broken link an error."""

import leulo

project = "Leulo"
author = "the Leulo contributors"
copyright = author
version = release = leulo.__version__
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"Leulo {release}"
myst_heading_anchors = 3
myst_enable_extensions = ["deflist"]
nitpicky = True
