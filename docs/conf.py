"""The English site, and with ``-t pt`` the Portuguese one in its folder pt-br. CONTRIBUTING.md has the commands."""

import re

project = "django-plugchat"
author = "The django-plugchat developers"
html_show_copyright = False
is_portuguese = tags.has("pt")  # type: ignore[name-defined]  # noqa: F821
language = "pt_BR" if is_portuguese else "en"

extensions = ["myst_parser"]
exclude_patterns = [] if is_portuguese else ["pt-br"]
myst_heading_anchors = 4
myst_url_schemes = {"http": None, "https": None, "mailto": None, "english": {"url": "{{path}}#{{fragment}}"}}
nitpicky = True
# An option begins with two hyphens, not with a dash.
smartquotes = False

# The theme's own words. From the Portuguese pages' folder; the build compiles them.
locale_dirs = ["../locale"]
templates_path = ["_templates"]
html_theme = "furo"
html_title = project
html_copy_source = False
html_show_sphinx = False
html_sidebars = {
    "**": [
        "sidebar/brand.html",
        "language.html",
        "sidebar/search.html",
        "sidebar/scroll-start.html",
        "sidebar/navigation.html",
        "sidebar/scroll-end.html",
    ]
}
html_context = {"is_portuguese": is_portuguese}

_ENGLISH_PAGE = re.compile(r"\]\(((?:\.\./)+(?:reference|explanation)/[\w-]+)\.md(?:#([\w-]+))?\)")


def link_to_english(app, docname, source):
    """What is in English only is in the other site; the links are files for those who read the sources."""
    source[0] = _ENGLISH_PAGE.sub(r"](english:\1.html#\2)", source[0])


def setup(app):
    if is_portuguese:
        app.connect("source-read", link_to_english)
