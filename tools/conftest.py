"""Doctests of the tools: those of a module that needs the extra `docs` are left out without it."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore = [] if find_spec("griffe") else ["site_docstrings.py"]
