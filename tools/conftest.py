"""Doctests of the tools. Without the extra `docs`, those of the modules that need it are not collected."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore = [] if find_spec("griffe") else ["site_docstrings.py"]
