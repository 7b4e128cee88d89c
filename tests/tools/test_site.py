"""The site and the skill: pages are reachable, links to other files lead to GitHub, figures agree with the facts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from harness.plugins.registry import load_registry
from harness.report import text
from tests.documents import ROOT
from tools.check_links import find_problems
from tools.site_links import BLOB, replace_links

SKILL = ROOT / "skills" / "algorace"
GPU = (ROOT / "docs" / "gpu.md").read_text(encoding="utf-8")


class Loader(yaml.SafeLoader):
    """Reads mkdocs.yml, which refers to a Python function."""


Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda loader, suffix, node: None)
CONFIG: dict[str, Any] = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Loader)


def nav_pages(entry: Any) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
    for child in entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else ():
        yield from nav_pages(child)


def test_every_page_is_in_the_navigation_once() -> None:
    pages = sorted(nav_pages(CONFIG["nav"]))
    assert pages == sorted(str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md"))
    assert CONFIG["strict"] is True


def test_the_site_loads_nothing_from_other_servers() -> None:
    assert CONFIG["theme"]["font"] is False
    assert "repo_url" not in CONFIG, "the theme would ask GitHub for the number of stars"
    assert not {"extra_css", "extra_javascript"} & set(CONFIG)


def test_links_out_of_the_site_lead_to_github_and_others_stay() -> None:
    page = "[a](../../harness/README.md#who), [b](../gate.md#x), [c](../../docs/rules.md), [d](https://x.org), [e](#z)"
    assert replace_links(page, "adr/0001-x.md").split(", ") == [
        f"[a]({BLOB}harness/README.md#who)", "[b](../gate.md#x)", "[c](../rules.md)", "[d](https://x.org)", "[e](#z)",
    ]  # fmt: skip
    code = "```text\n[a](../x.md)\n```\n"
    assert replace_links(code, "gate.md") == code


def test_the_skill_has_a_heading_that_agents_read() -> None:
    head = yaml.safe_load((SKILL / "SKILL.md").read_text(encoding="utf-8").split("---\n")[1])
    assert head["name"] == SKILL.name
    assert 0 < len(head["description"]) <= 1024
    linked = set(re.findall(r"\]\((\w+\.md)\)", (SKILL / "SKILL.md").read_text(encoding="utf-8")))
    assert linked == {path.name for path in SKILL.glob("*.md")} - {"SKILL.md"}
    assert not [problem for path in SKILL.glob("*.md") for problem in find_problems(path)]


def test_the_commands_of_the_skill_print_json() -> None:
    lines = [line for path in SKILL.glob("*.md") for line in path.read_text().splitlines() if line.startswith("bench ")]
    assert len(lines) > 15
    names = ("bench list   ",)
    assert not [line for line in lines if "--json" not in line and not line.startswith(names)]


def test_the_estimates_for_a_gpu_follow_from_the_facts() -> None:
    rate = 490_000
    for name in ("lm-124m", "lm-124m-synthetic"):
        facts = load_registry().workload(name).facts
        tokens = facts.budget.horizon * facts.tokens_per_example
        (row,) = [line for line in GPU.splitlines() if line.startswith(f"| `{name}` | {tokens:,} |")]
        assert text.seconds(facts.budget.seconds["default"]) in row
        assert text.seconds(60 * round(tokens / rate / 60)).replace(" 00 s", "") in row
