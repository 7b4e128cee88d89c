"""The rules in docs/rules.md agree with the code."""

from __future__ import annotations

import pytest

from harness.worker.rules import rule_names
from tools import make_rules
from tools.generated_block import replace_block


def test_the_page_is_not_stale() -> None:
    committed = make_rules.PAGE.read_text()
    assert committed == make_rules.page(), "stale: run python -m tools.make_rules and commit the page"


def test_every_rule_says_what_why_and_what_instead() -> None:
    text = make_rules.rules()
    for label in ("### ", "- *Forbidden:* ", "- *Why:* ", "- *Instead:* "):
        assert text.count(label) == len(rule_names())


def test_a_page_without_the_block_is_refused() -> None:
    with pytest.raises(ValueError, match="0 times"):
        replace_block("# A page\n", "rules", "a command", "text")
