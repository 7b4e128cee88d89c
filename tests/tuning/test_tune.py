"""`bench tune` on made-up runs whose loss is a bowl in the learning rate, and the best known settings it keeps."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness import cli
from harness.contract.record import Record, Status, TrialSummary
from harness.contract.run import Counters, Point, RunSpec
from harness.gating.setup import gate_budget
from harness.plugins.registry import load_registry
from harness.storage import records
from harness.storage.layout import run_id
from harness.storage.run_folder import RunFolder

Bench = Callable[..., tuple[int, str, str]]
#: Learning rate at the bottom of the bowl.
BOTTOM = 0.01
FACTS = load_registry().workload("resnet-digits").facts


class MadeUpRuns:
    """An executor that writes a record for every trial; it counts the trials that it ran.

    Args:
        breaks: learning rates at which a run diverges.
    """

    def __init__(self, breaks: Sequence[float] = ()) -> None:
        self.breaks = breaks
        self.specs: list[RunSpec] = []

    def __call__(self, specs: Sequence[RunSpec], runs: Path, *rest: Any) -> Any:
        for spec in specs:
            folder = RunFolder(runs, run_id(spec))
            known = folder.record_path.exists()
            if not known:
                self.specs.append(spec)
                folder.path.mkdir(parents=True)
                folder.record_path.write_bytes(records.encode(self.record(spec)))
            status = records.read_record(folder.record_path).status
            yield TrialSummary(run_id=run_id(spec), spec=spec, status=status, kept=known, path=str(folder.path))

    def record(self, spec: RunSpec) -> Record:
        lr, target = float(spec.hparams["lr"]), spec.workload.facts.targets[0]
        loss = target.value * (1 + abs(math.log(lr / BOTTOM)))
        examples = spec.stop or spec.workload.facts.budget.horizon
        points = tuple(
            Point(
                examples=n, gradient_examples=n, steps=n // 64, seconds=n / 1000, process_seconds=n / 1000,
                metrics={target.metric: 3 * loss if n < examples else loss},
            )
            for n in (examples // 2, examples)
        )  # fmt: skip
        status: Status = "diverged" if lr in self.breaks else "exhausted"
        hit = 1 if target.met(points[-1].metrics) else None
        return Record(
            run_id=run_id(spec), spec=spec, status="reached" if hit else status, reason="a test's", points=points,
            hit=hit, counters=Counters(examples=examples, seconds=30.0),
        )  # fmt: skip


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> MadeUpRuns:
    executor = MadeUpRuns()
    monkeypatch.setattr("harness.execution.run_trials.load_object", lambda load: executor)
    return executor


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Bench:
    """Run `bench` in this process, in an empty folder; returns (code, out, err)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)

    def call(*arguments: str) -> tuple[int, str, str]:
        code = cli.invoke(list(arguments))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


ONE = ("tune", "wsd", "-w", "resnet-digits", "--only", "lr", "--budget", "gate")


def test_the_winner_is_a_command_with_its_neighbours_and_its_cost(bench: Bench, runs: MadeUpRuns) -> None:
    code, out, _ = bench(*ONE, "--trials", "4")
    assert code == 0
    assert out.rstrip().endswith("bench run -s wsd -w resnet-digits --set lr=0.01")
    assert "neighbours: lr=0.005 (defaults) 69 % worse; lr=0.02 69 % worse" in out
    assert "cost: 4 runs, 2.0 core-minutes" in out
    assert "edge" not in out
    assert "one seed per setting" in out
    first = out.splitlines()[1].split()
    assert first[:3] == ["1", "lr=0.01", f"{FACTS.targets[0].value:g}"]


def test_runs_are_for_tuning_end_at_the_budget_and_share_their_seeds(bench: Bench, runs: MadeUpRuns) -> None:
    bench(*ONE, "--trials", "3", "--studies", "2")
    assert len(runs.specs) == 6
    assert {spec.purpose for spec in runs.specs} == {"tuning"}
    assert {spec.hparams["horizon_fraction"] for spec in runs.specs} == {1.0}
    (budget,) = {spec.stop for spec in runs.specs}
    assert {spec.workload.facts.budget.horizon for spec in runs.specs} == {budget}
    assert [spec.study for spec in runs.specs] == [0, 0, 0, 1, 1, 1]
    assert len({spec.seeds for spec in runs.specs}) == 2


def test_the_same_command_runs_nothing_again_and_more_trials_continue(bench: Bench, runs: MadeUpRuns) -> None:
    whole = ("tune", "wsd", "-w", "resnet-digits", "--budget", "gate")
    first = bench(*whole, "--trials", "3")[1]
    assert len(runs.specs) == 3
    assert bench(*whole, "--trials", "3")[1] == first
    assert len(runs.specs) == 3
    _, _, err = bench(*whole, "--trials", "5", "--dry-run")
    assert "5 runs, 3 of them finished; about" in err
    bench(*whole, "--trials", "5")
    assert len(runs.specs) == 5


def test_a_winner_at_the_edge_is_warned_of(bench: Bench, runs: MadeUpRuns) -> None:
    _, out, _ = bench(*ONE, "--trials", "3", "--range", "lr=1e-4..1e-3")
    assert "warning: lr=0.001 lies at the edge of the searched range 0.0001 to 0.001" in out
    assert "widen the range: --range lr=0.000333..0.01" in out


def test_a_run_that_breaks_ranks_last_and_is_said(bench: Bench, runs: MadeUpRuns) -> None:
    runs.breaks = (0.02,)
    code, out, _ = bench(*ONE, "--trials", "4", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["settings"][-1]["hparams"] == {"lr": 0.02}
    assert found["settings"][-1]["broken"] == 1
    assert f"broken run: lr=0.02 on {FACTS.id}: diverged, a test's" in bench(*ONE, "--trials", "4")[1]


def test_without_a_sound_run_there_is_no_winner(bench: Bench, runs: MadeUpRuns) -> None:
    runs.breaks = (0.005,)
    code, out, _ = bench(*ONE, "--trials", "1", "--write")
    assert code == 1
    assert "there is no winner" in out
    assert not Path("best_settings.json").exists()


def test_times_are_ranked_and_misses_come_behind(bench: Bench, runs: MadeUpRuns) -> None:
    found = json.loads(bench("tune", "wsd", "-w", "resnet-digits", "--only", "lr", "--trials", "4", "--json")[1])
    assert found["by"] == "time"
    assert [entry["hparams"]["lr"] for entry in found["settings"]][:1] == [0.01]
    assert [run["hit"] for entry in found["settings"] for run in entry["runs"]] == [True, False, False, False]
    assert {spec.stop for spec in runs.specs} == {None}


def test_several_workloads_are_ranked_together(bench: Bench, runs: MadeUpRuns) -> None:
    code, out, _ = bench("tune", "wsd", "-w", "resnet-digits,lm-tiny", "--only", "lr", "--range", "lr=1e-3..1e-1",
                         "--trials", "3", "--budget", "gate", "--json")  # fmt: skip
    assert code == 0
    found = json.loads(out)
    assert found["command"] == "bench run -s wsd -w resnet-digits,lm-tiny --set lr=0.01"
    assert {name.partition("@")[0] for name in found["budgets"]} == {"resnet-digits", "lm-tiny"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("tune", "wsd"), "no workload is named"),
        ((*ONE, "--by", "time"), "the time to the target is unknown"),
        ((*ONE, "--range", "lr"), "NAME=LOW..HIGH"),
        ((*ONE[:-2], "--budget", "12"), "a run must have from"),
        (("tune", "replay", "-w", "resnet-digits"), "cannot run on resnet-digits"),
        (
            ("tune", "wsd", "-w", "resnet-digits", "--only", "horizon_fraction", "--budget", "gate"),
            "cannot be searched",
        ),
    ],
)
def test_a_mistake_is_one_line(bench: Bench, arguments: tuple[str, ...], words: str) -> None:
    code, out, err = bench(*arguments)
    assert (code, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1


# --- best known settings ----------------------------------------------------------------------------


def test_the_winner_is_kept_and_bench_run_uses_it(bench: Bench, runs: MadeUpRuns) -> None:
    bench(*ONE, "--trials", "4", "--write")
    (kept,) = json.loads(Path("best_settings.json").read_text())["settings"]
    assert (kept["submission"], kept["tier"], kept["hparams"]) == ("wsd@1", "cpu", {"lr": 0.01})
    assert (kept["trials"], kept["runs"], kept["core_minutes"], len(kept["run_ids"])) == (4, 4, 2.0, 1)
    ask = ("run", "-s", "wsd", "-w", "lm-tiny", "--dry-run", "--json")
    code, out, err = bench(*ask, "--best")
    assert code == 0
    assert (
        f"wsd: best known setting lr=0.01, by the metric at {gate_budget(FACTS):,} examples of {FACTS.id}, "
        "best of 4 settings in the search of" in err
    )
    (planned,) = json.loads(out)["specs"]
    assert planned["spec"]["overridden"] == ["lr"], "such a run is never ranked"
    assert planned["run_id"] == json.loads(bench(*ask, "--set", "lr=0.01")[1])["specs"][0]["run_id"]
    (own,) = json.loads(bench(*ask, "--best", "--set", "lr=0.5")[1])["specs"]
    assert own["spec"]["hparams"]["lr"] == 0.5


def test_best_needs_a_setting_and_the_ruleset_quick(bench: Bench, runs: MadeUpRuns) -> None:
    code, _, err = bench("run", "-s", "wsd", "-w", "lm-tiny", "--best", "--dry-run")
    assert code == 2
    assert "has no setting of wsd (search for one: bench tune wsd -w WORKLOAD --write)" in err
    code, _, err = bench("run", "-s", "wsd", "-w", "lm-tiny", "--best", "--dry-run", "--ruleset", "external")
    assert code == 2
    assert "never ranked" in err
    bench(*ONE, "--trials", "2", "--write")
    _, _, err = bench("run", "-s", "wsd,rex", "-w", "lm-tiny", "--best", "--dry-run")
    assert "rex: no best known setting for tier cpu; the defaults are used" in err


@pytest.mark.slow
def test_a_file_keeps_its_setting_when_it_moves_with_its_project_and_an_edit_is_said(
    bench: Bench, runs: MadeUpRuns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("old").mkdir()
    monkeypatch.chdir("old")
    Path("mine.py").write_text(SUBMISSION)
    assert bench("tune", "./mine.py", "-w", "resnet-digits", "--only", "lr", "--budget", "gate", "--write")[0] == 0
    (kept,) = json.loads(Path("best_settings.json").read_text())["settings"]
    assert kept["load"].startswith("mine.py:")
    Path("best_settings.json").rename(tmp_path / "new.json")
    monkeypatch.chdir(tmp_path)
    Path("old").rename("new")
    Path("new.json").rename("new/best_settings.json")
    monkeypatch.chdir("new")
    ask = ("run", "-s", "./mine.py", "-w", "resnet-digits", "--best", "--dry-run")
    code, _, err = bench(*ask)
    assert code == 0
    assert "best known setting lr=" in err
    assert "edited" not in err
    Path("mine.py").write_text(SUBMISSION + "\nANOTHER = 1\n")
    code, _, err = bench(*ask)
    assert code == 0
    assert "was edited after this setting was found" in err


SUBMISSION = """
from harness.api import LogUniform, Recipe

RECIPE = Recipe(optimizer="adamw", schedule="cosine", search_space={"lr": LogUniform(1e-3, 1e-1)})
"""


def test_a_damaged_file_is_one_line(bench: Bench, runs: MadeUpRuns) -> None:
    Path("best_settings.json").write_text("{")
    code, _, err = bench("run", "-s", "wsd", "-w", "lm-tiny", "--best", "--dry-run")
    assert code == 1
    assert "best_settings.json is damaged" in err
    code, _, err = bench(*ONE, "--trials", "1", "--write")
    assert code == 1
    Path("best_settings.json").write_text('{"schema": 9}')
    assert "has schema 9" in bench("run", "-s", "wsd", "-w", "lm-tiny", "--best", "--dry-run")[2]


def test_a_second_search_replaces_the_setting_and_says_so(bench: Bench, runs: MadeUpRuns) -> None:
    bench(*ONE, "--trials", "1", "--write")
    _, _, err = bench(*ONE, "--trials", "4", "--write")
    assert "replaced lr=0.005" in err
    assert len(json.loads(Path("best_settings.json").read_text())["settings"]) == 1
