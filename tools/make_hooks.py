"""Write docs/hooks.md: every hook of plugins, with its arguments and an example.

usage: python -m tools.make_hooks            (a test fails if the page is stale)
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.contract import entries, hookspecs, observation, run
from tools.docstrings import argument_texts, docstring_text
from tools.markdown import table_lines

PAGE = Path(__file__).resolve().parent.parent / "docs" / "hooks.md"
#: Types that hooks yield or receive, in the order of the page.
TYPES = (
    entries.WorkloadEntry, entries.SubmissionEntry, entries.PartEntry, entries.ExecutorEntry, entries.DatasetEntry,
    entries.DatasetFile, entries.Source, observation.ObservedTrial, run.Point, observation.TrialOutcome,
)  # fmt: skip
HEAD = """# Hooks

`python -m tools.make_hooks` generates this page from `harness/contract/hookspecs.py`. Do not edit it.

A plugin is a module with functions that are marked with `@hookimpl`. An entry point in the group `bench` refers to
the module:

```toml
[project.entry-points.bench]
mine = "bench_mine.plugin"
```

The examples on this page need these names:

```python
from harness.api import (
    DatasetEntry, DatasetFile, ExecutorEntry, LogUniform, ObserverEntry, PartEntry, SubmissionEntry, WorkloadEntry,
    hookimpl,
)
```

`bench plugins` lists the installed plugins, the hooks that they implement, and the errors of broken plugins.
[Writing plugins](authors.md) explains the details.
"""


def hooks() -> dict[str, Callable[..., Any]]:
    """Return all hooks by name."""
    return {name: hook for name, hook in vars(hookspecs).items() if name.startswith("bench_")}


def page() -> str:
    """Return the page as Markdown."""
    lines = [HEAD]
    for name, hook in hooks().items():
        signature = ", ".join(inspect.signature(hook).parameters)
        text, _, example = (inspect.getdoc(hook) or "").partition("Example::")
        lines += [f"## {name}", "", f"`{name}({signature})`", "", _join_paragraphs(text), ""]
        lines += ["```python", inspect.cleandoc(example), "```", ""]
    lines += ["## Types", ""]
    for hook_type in TYPES:
        rows = [(f"`{name}`", text) for name, text in argument_texts(hook_type).items()]
        text = _join_paragraphs(docstring_text(hook_type))
        lines += [f"### {hook_type.__name__}", "", text, "", *table_lines(("field", "meaning"), rows), ""]
    return "\n".join(lines).rstrip() + "\n"


def _join_paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in re.split(r"\n\n", text.strip()))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
