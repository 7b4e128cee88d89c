"""Doctests of the tools. If the extra `docs` is not installed, the doctests of modules that need it are skipped."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore = [] if find_spec("griffe") else ["site_docstrings.py"]
