"""A comment, a docstring or the layout does not change the hash of code; everything else does."""

from __future__ import annotations

import ast
import io
import sys
import textwrap
import tokenize
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.contract.entries import PartEntry, SubmissionEntry
from harness.contract.run import SubmissionRef
from harness.planning.rulesets import ruleset
from harness.planning.trials import PlanSettings, plan_trials
from harness.plugins.code_hash import code_hash, tokens_text
from harness.plugins.source_hash import source_hash
from harness.storage.layout import run_id, run_id_of_json
from tests import micro
from tests.helpers import NoParts

ROOT = Path(__file__).parents[2]
SOURCE = '''"""A method."""

import torch


class Mine:
    """What it does."""

    rate = 0.1  # found by tuning

    def step(self, work):
        """Make a step."""
        values = [1, 2]
        if values:
            return f"{self.rate:.{2}f} of {values!r}"
'''
#: Edits that change nothing, and edits that do.
SAME = {
    "comment": ("  # found by tuning", "  # found by luck"),
    "comment alone": ("import torch\n", "import torch\n\n# a long story\n"),
    "docstring": ('"""What it does."""', '"""Something else, in\n\n    more lines."""'),
    "no docstring": ('        """Make a step."""\n', ""),
    "module docstring": ('"""A method."""\n\n', ""),
    "layout": ("[1, 2]", "[\n            1,  # one\n            2\n        ]"),
    "spaces": ("rate = 0.1", "rate=0.1"),
    "continued line": ("        if values:", "        if \\\n            values:"),
    "indentation": ("            return", "          return"),
}
OTHER = {
    "number": ("0.1", "0.2"),
    "name": ("rate", "speed"),
    "string": ("of {values", "from {values"),
    "format": (":.{2}f", ":.{3}f"),
    "order": ("[1, 2]", "[2, 1]"),
    "less indented": ("            return", "            pass\n        return"),
    "a string that is no docstring": ("        values = [1, 2]", '        values = [1, 2]\n        "text"'),
}


def hash_of(source: str, folder: Path) -> str:
    file = folder / "mine.py"
    file.write_text(source)
    return code_hash([f"{file}:Mine"])


@pytest.mark.parametrize("edit", SAME)
def test_what_changes_no_result_changes_no_hash(edit: str, tmp_path: Path) -> None:
    edited = SOURCE.replace(*SAME[edit])
    assert edited != SOURCE
    assert hash_of(edited, tmp_path) == hash_of(SOURCE, tmp_path)


@pytest.mark.parametrize("edit", OTHER)
def test_what_may_change_a_result_changes_the_hash(edit: str, tmp_path: Path) -> None:
    edited = SOURCE.replace(*OTHER[edit])
    assert edited != SOURCE
    assert hash_of(edited, tmp_path) != hash_of(SOURCE, tmp_path)


@pytest.mark.parametrize(
    "reads", ["print(__doc__)", "getattr(Mine, '__doc__')", "import inspect; inspect.getdoc(Mine)"]
)
def test_docstrings_count_where_they_are_read(reads: str, tmp_path: Path) -> None:
    source = f"{SOURCE}\n{reads}\n"
    assert hash_of(source, tmp_path) != hash_of(source.replace("What it does", "Else"), tmp_path)
    assert hash_of(source, tmp_path) == hash_of(source.replace("found by", "by"), tmp_path)


@pytest.mark.parametrize("reads", ["open(__file__)", "import linecache", "import inspect; inspect.getsource(Mine)"])
def test_comments_count_where_the_source_is_read(reads: str, tmp_path: Path) -> None:
    source = f"{SOURCE}\n{reads}\n"
    assert hash_of(source, tmp_path) != hash_of(source.replace("found by", "by"), tmp_path)


def test_a_word_in_a_comment_or_docstring_reads_nothing(tmp_path: Path) -> None:
    source = SOURCE.replace("found by tuning", "see __file__").replace("What it does", "It has a __doc__")
    assert hash_of(source, tmp_path) == hash_of(SOURCE, tmp_path)


def test_what_is_no_python_is_hashed_by_its_bytes(tmp_path: Path) -> None:
    for source in ("x = (", "é = '\udcff'".encode("utf-8", "surrogateescape"), b"\xff\xfe"):
        file = tmp_path / "mine.py"
        file.write_bytes(source if isinstance(source, bytes) else source.encode())
        assert code_hash([f"{file}:Mine"]) == source_hash([f"{file}:Mine"])


def test_files_do_not_run_into_each_other() -> None:
    loads = ["submissions.optimizers.adamw:adamw", "submissions.schedules.wsd:wsd"]
    assert code_hash(loads) == code_hash(reversed(loads)) != code_hash(loads[:1])


@pytest.mark.parametrize("file", sorted((ROOT / "submissions").rglob("*.py"))[::4], ids=lambda path: path.name)
def test_code_that_was_printed_from_its_syntax_tree_has_no_comments_left(file: Path) -> None:
    """Of real files: the tokens do not depend on comments that are taken out by another tool."""
    source = file.read_bytes()
    comments = [t for t in tokenize.tokenize(io.BytesIO(source).readline) if t.type == tokenize.COMMENT]
    lines = source.decode().splitlines(keepends=True)
    for comment in reversed(comments):
        row, column = comment.start
        lines[row - 1] = lines[row - 1][:column].rstrip() + "\n"
    stripped = "".join(lines).encode()
    assert tokens_text(stripped, docstrings=False) == tokens_text(source, docstrings=False)
    ast.parse(stripped)


@given(st.text(st.characters(codec="ascii", exclude_categories=["C"]), max_size=30))
def test_any_comment_is_left_out(text: str) -> None:
    plain = textwrap.dedent(SOURCE).encode()
    assert tokens_text(plain.replace(b"found by tuning", text.encode())) == tokens_text(plain)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="an f-string is one token before Python 3.12")
def test_an_f_string_is_its_text_in_every_version() -> None:
    assert "\0f'a{b:>{c}}d'\0" in tokens_text(b"x = f'a{b:>{c}}d'\n")


# --- runs -------------------------------------------------------------------------------------------------------------


def planned_id(file: Path, distribution: str = "file") -> tuple[str, SubmissionRef]:
    entry = SubmissionEntry(name="mine", summary="s", load=f"{file}:Mine", distribution=distribution)
    (spec,) = plan_trials(micro.ENTRY, entry, NoParts(), PlanSettings(ruleset=ruleset("quick")))
    record = msgspec.json.encode({"spec": spec})
    assert run_id_of_json(record) == run_id(spec)
    return run_id(spec), spec.submission


def test_an_edited_comment_keeps_the_run_and_is_recorded(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(SOURCE)
    first, ref = planned_id(file)
    file.write_text(SOURCE.replace("found by", "by"))
    second, edited = planned_id(file)
    assert first == second
    assert ref.source_hash != edited.source_hash, "the bytes that ran are in the record"
    assert ref.code_identity == edited.code_identity == ref.code_hash
    file.write_text(SOURCE.replace("0.1", "0.2"))
    assert planned_id(file)[0] != first


def test_ids_of_what_comes_with_the_harness_contain_the_bytes(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(SOURCE)
    first, ref = planned_id(file, distribution="algorace")
    assert (ref.code_hash, ref.code_identity) == ("", ref.source_hash)
    file.write_text(SOURCE.replace("found by", "by"))
    assert planned_id(file, distribution="algorace")[0] != first


def test_a_foreign_part_makes_the_code_foreign() -> None:
    class OnePart:
        def part(self, kind: str | None, name: str, *, prefer: str = "") -> PartEntry:
            return PartEntry(kind="optimizer", name="o", load="torch.optim:SGD", summary="s", distribution="bench-o")

    entry = SubmissionEntry(name="mine", summary="s", parts=("optimizer:o",), distribution="algorace")
    (spec,) = plan_trials(micro.ENTRY, entry, OnePart(), PlanSettings(ruleset=ruleset("quick")))
    assert spec.submission.code_hash
