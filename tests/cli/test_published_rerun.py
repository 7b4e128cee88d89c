"""From a run with the nonce of a beacon to a published record that a rerun verifies, on a small workload."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from harness import cli
from harness.storage.records import iter_records
from tests.cheats.pipeline import set_import_path
from tests.local_beacon import serve_beacon

TASK = """
import msgspec
from tests import micro

class Points(micro.MicroRedrawn):
    facts = msgspec.structs.replace(micro.REDRAWN_FACTS, name="points")
"""
MINE = """
from tests.submissions_for_tests import Base

class Mine(Base):
    pass
"""


@pytest.mark.slow
def test_a_published_record_becomes_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    set_import_path()
    os.environ.pop("PYTEST_CURRENT_TEST", None)  # a fork server serves processes with one environment
    monkeypatch.chdir(tmp_path)
    Path("task.py").write_text(TASK)
    Path("mine.py").write_text(MINE)

    def trust() -> set[str]:
        capsys.readouterr()
        assert cli.invoke(["leaderboard", "--runs", "none", "--json"]) == 0
        return {row["trust"] for table in json.loads(capsys.readouterr().out)["tables"] for row in table["rows"]}

    with serve_beacon() as beacon:
        for command in ("run", "rerun", "verify"):
            monkeypatch.setattr(f"harness.cli.{command}.public_beacon", lambda: beacon)
        assert cli.invoke(["run", "-s", "./mine.py", "-w", "./task.py", "--nonce", "beacon"]) == 0
        assert cli.invoke(["publish", "mine"]) == 0
        (record,) = iter_records([Path("results")], [])
        assert record.spec.nonce is not None
        assert (record.spec.nonce.source, record.spec.held_out is None) == ("beacon", False)
        assert cli.invoke(["verify", "results", "--online"]) == 0
        assert trust() == {"evaluated"}
        repeat = ["rerun", record.run_id, "--runs", "none"]
        assert cli.invoke(repeat) == 2, "a record does not choose the file of its workload"
        repeat += ["--workload-file", "task.py"]
        capsys.readouterr()
        assert cli.invoke(repeat) == 0
        own = "evaluated (not enough for verified: the check was made on the machine of the record)"
        assert own in capsys.readouterr().out
        assert trust() == {"evaluated"}
        monkeypatch.setattr("platform.node", lambda: "another machine")
        assert cli.invoke(repeat) == 0
        shown = capsys.readouterr()
    assert "exact: accepted" in shown.out
    assert f"{record.run_id} (mine@1 on {record.spec.workload.facts.id}): verified" in shown.out
    assert "write the tables again: bench leaderboard --runs none --results results" in shown.err
    assert trust() == {"verified"}
