"""`bench gate` as it is typed, with runs made by hand: verdicts, exit codes, JSON, series, bad input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from harness import cli
from harness.contract.domains import Fixed
from harness.contract.entries import SubmissionEntry
from harness.contract.run import Counters, RunSpec
from harness.gating import session
from harness.gating.setup import gate_budget
from harness.planning.resolve import resolve_submission
from harness.plugins.registry import Registry, load_registry
from harness.storage.records import encode
from harness.tuning.best_settings import BestSetting, write_best_setting
from tests.gating.builders import FakeRunner

SOURCE = Path(__file__).resolve().parents[1] / "fixtures" / "my_optimizer.py"
FACTS = load_registry().workload("resnet-digits").facts
GATE = ("gate", "adamw-constant", "--against", "adamw-cosine", "-w", "resnet-digits", "--no-envelope")
Losses = Callable[[RunSpec], float | None]


class Result(NamedTuple):
    code: int
    out: str
    err: str


class Bench:
    """`bench` in this process, in an empty folder; every run ends at the loss that `losses` gives."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.losses: Losses = by_name(1.0)
        self.runner = FakeRunner(lambda spec: self.losses(spec))
        runner = self.runner

        def run_trials(specs: Any, runs: Any, **options: Any) -> Any:
            yield from reversed(runner(list(specs)))

        monkeypatch.setattr(session, "run_trials", run_trials)
        monkeypatch.setattr(session, "resolve_submission", resolve)

    def __call__(self, *arguments: str) -> Result:
        code = cli.invoke(list(arguments))
        captured = self._capsys.readouterr()
        assert "Traceback" not in captured.err
        return Result(code, captured.out, captured.err)

    def json(self, *arguments: str) -> tuple[int, Any]:
        result = self(*arguments, "--json")
        return result.code, json.loads(result.out)


def resolve(name: str, registry: Registry) -> SubmissionEntry:
    """As `resolve_submission`, without a child process that imports torch for every edit of a file."""
    if not name.endswith(".py"):
        return resolve_submission(name, registry)
    path = Path(name).resolve()
    return SubmissionEntry(name=path.stem, summary="a test's", load=f"{path}:Mine", space={"lr": Fixed(0.01)})


def by_name(ratio: float, name: str = "adamw-constant") -> Losses:
    """This submission ends at `ratio` times the loss of the others; every seed has its luck."""

    def loss(spec: RunSpec) -> float:
        luck = 1 + 0.01 * (spec.seeds.data % 7)
        return luck * (ratio if spec.submission.name == name else 1.0)

    return loss


def by_marker(spec: RunSpec) -> float:
    """A file's loss is what it says in its last line: `LOSS = 0.9`."""
    file = (spec.submission.load or "").rpartition(":")[0]
    value = float(Path(file).read_text().split()[-1]) if file.endswith(".py") else 1.0
    return value * (1 + 0.01 * (spec.seeds.data % 7))


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Bench:
    monkeypatch.chdir(tmp_path)
    return Bench(monkeypatch, capsys)


def write(loss: float, path: str = "mine.py") -> None:
    Path(path).write_text(f"{SOURCE.read_text()}\nLOSS = {loss}\n")


def test_compare_until_decided_is_a_gate(bench: Bench) -> None:
    options = ["--by", "examples"]
    bench.losses = by_name(0.9)
    code, compared = bench.json("compare", *GATE[1:2], GATE[3], *GATE[4:6], *options, "--until-decided")
    assert (code, compared["verdict"]) == (0, "better")
    gated = bench.json("gate", *GATE[1:6], *options)[1]
    assert {**compared, "minutes": 0} == {**gated, "minutes": 0}


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--ruleset", "quick"], "--until-decided makes the runs that it compares, so it does not use --ruleset"),
        (["--by", "steps"], "--by steps cannot be used with --until-decided (use examples or time)"),
        (["--runs", "none"], "--until-decided needs a folder for its runs"),
    ],
)
def test_compare_until_decided_refuses_options_of_finished_runs(bench: Bench, options: list[str], problem: str) -> None:
    result = bench("compare", "wsd", "adamw-cosine", "--until-decided", *options)
    assert result.code == 2
    assert problem in result.err


@pytest.mark.parametrize(
    ("ratio", "verdict", "code"),
    [(0.9, "better", 0), (1.1, "worse", 1), (1.001, "equivalent", 1)],
)
def test_a_verdict_and_its_exit_code(bench: Bench, ratio: float, verdict: str, code: int) -> None:
    bench.losses = by_name(ratio)
    result = bench(*GATE)
    assert result.code == code
    first, second, *_ = result.out.splitlines()
    assert first.startswith(f"{verdict}: adamw-constant (A) against adamw-cosine (B) on resnet-digits@")
    assert second.startswith("metric ratio ")
    lines = [line for line in result.err.splitlines() if line.startswith("pair ")]
    assert len(lines) == 6
    assert "evidence" in lines[0]
    assert "no earlier run" in result.err, "the cost is stated before"
    assert "\r" not in result.err + result.out


def test_undecided_says_why_and_what_goes_on(bench: Bench) -> None:
    bench.losses = by_name(0.9)
    result = bench(*GATE, "--max-pairs", "1")
    assert result.code == 4
    assert "note: 1 pair cannot decide at alpha = 0.05: at least 6 are needed" in result.out
    again = result.out.splitlines()[-1].partition(": ")[2]
    assert again == f"bench {' '.join(GATE[:-1])} --max-pairs 11 --no-envelope"
    ran = len(bench.runner.ran)
    assert bench(*again.split()[1:]).code == 0
    assert (ran, len(bench.runner.ran)) == (2, 12), "nothing runs twice"


def test_the_json_is_a_schema(bench: Bench) -> None:
    bench.losses = by_name(0.9)
    code, shown = bench.json(*GATE)
    assert code == 0
    assert set(shown) == {
        "schema", "verdict", "a", "b", "by", "unit", "cost_ratio", "estimate", "interval", "alpha", "min_effect",
        "evidence", "pairs",
        "ties", "pairs_needed", "minutes", "minutes_needed", "workloads", "broken", "outside_envelope", "fallback",
        "notes", "runs", "series", "command",
    }  # fmt: skip
    assert (shown["schema"], shown["verdict"], shown["pairs"], shown["pairs_needed"]) == (1, "better", 6, 0)
    assert shown["estimate"] == pytest.approx(1 / 0.9)
    assert shown["interval"][0] > 1
    assert shown["min_effect"] == pytest.approx(0.03)
    assert (shown["unit"], shown["fallback"], shown["command"]) == ("metric ratio", "--no-envelope was given", "")
    assert len(shown["runs"]) == 6
    code, shown = bench.json(*GATE, "--max-pairs", "3", "--min-effect", "5%")
    assert (code, shown["verdict"], shown["interval"]) == (4, "undecided", [None, None])
    assert shown["minutes_needed"] > 0
    assert shown["command"].startswith("bench gate adamw-constant")


def best_setting(submission: str, lr: float, load: str = "") -> BestSetting:
    return BestSetting(
        submission=f"{submission}@1",
        load=load,
        source_hash="another",
        tier="cpu",
        workloads=(FACTS.id,),
        hparams={"lr": lr},
        by="metric",
        trials=8,
        studies=1,
        hardware="any",
        run_ids=(),
        runs=8,
        core_minutes=1.0,
        found="2026-01-01",
    )


def test_best_runs_each_side_with_its_best_known_setting(bench: Bench) -> None:
    assert bench(*GATE, "--best").code == 2, "nothing is stored"
    write_best_setting(Path("best_settings.json"), best_setting("adamw-constant", 0.004))
    bench.losses = by_name(0.9)
    bench.runner.ran.clear()
    result = bench(*GATE, "--best")
    assert result.code == 0
    rates = {spec.submission.name: spec.hparams["lr"] for spec in bench.runner.ran}
    assert rates["adamw-constant"] == 0.004 != rates["adamw-cosine"]
    assert all(spec.hparams.get("horizon_fraction", 1.0) == 1.0 and not spec.overridden for spec in bench.runner.ran)
    assert "adamw-constant: best known setting lr=0.004" in result.err
    assert "adamw-constant was edited after this setting was found" in result.err
    assert "adamw-cosine: no best known setting for tier cpu; the defaults are used" in result.err


def test_broken_runs_are_said(bench: Bench) -> None:
    bench.losses = lambda spec: None if spec.submission.name == "adamw-constant" else 1.0
    code, shown = bench.json(*GATE)
    assert (code, shown["verdict"], shown["estimate"]) == (1, "worse", None)
    assert len(shown["broken"]) == 6
    assert shown["broken"][0]["reason"] == "the loss is NaN"
    assert "broke: A (adamw-constant) on resnet-digits, study 0, diverged: the loss is NaN" in bench(*GATE).out
    bench.losses = lambda spec: None
    bench.runner.finished.clear()
    result = bench(*GATE)
    assert result.code == 2
    assert "A and B both broke down on resnet-digits in all 2 pairs" in result.err


def test_an_exact_copy_is_identical(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.gating import builders

    make = builders.finish
    monkeypatch.setattr(builders, "finish", lambda spec, value: make(spec, value, final_weights="same"))
    write(1.0, "one.py")
    write(1.0, "two.py")
    code, shown = bench.json("gate", "./one.py", "--against", "./two.py", "-w", "resnet-digits", "--no-envelope")
    assert (code, shown["verdict"], shown["pairs"], shown["ties"]) == (1, "identical", 2, 2)


def test_an_edit_is_gated_against_its_original_of_the_same_file_name(bench: Bench) -> None:
    bench.losses = by_marker
    for folder, loss in (("a", 0.9), ("b", 1.0)):
        Path(folder).mkdir()
        write(loss, f"{folder}/mine.py")
    result = bench("gate", "a/mine.py", "--against", "b/mine.py", "-w", "resnet-digits", "--no-envelope")
    assert (result.code, result.out.split(" on ")[0]) == (0, "better: mine (A) against mine (B)")


def test_an_envelope_is_made_when_missing_and_used_again(bench: Bench) -> None:
    def losses(spec: RunSpec) -> float:
        if spec.purpose == "gate-envelope":
            return float(2 * spec.workload.facts.budget.horizon**-0.2)
        return 0.99 if spec.submission.name == "adamw-constant" else 1.0

    bench.losses = losses
    arguments = [one for one in GATE if one != "--no-envelope"]
    result = bench(*arguments)
    assert (
        "resnet-digits: no envelope in calibration/gate/resnet-digits.json; it is made once from 12 runs" in result.err
    )
    assert "compute multiplier 1.05×" in result.out
    assert "provisional envelope of adamw-cosine@1" in result.out
    assert "lie outside the envelope" in result.out
    ran = len(bench.runner.ran)
    assert "no envelope in" not in bench(*arguments).err
    assert len(bench.runner.ran) == ran
    code, shown = bench.json("gate", "--envelope", "resnet-digits")
    assert code == 0
    assert len(shown["envelopes"][0]["runs"]) == 12
    assert shown["envelopes"][0]["provisional"] is True


def test_without_names_it_is_the_reference_on_the_gate_set(bench: Bench) -> None:
    write(0.9)
    bench.losses = by_marker
    code, shown = bench.json("gate", "./mine.py", "--no-envelope")
    assert (code, shown["b"], shown["pairs"]) == (0, "adamw-cosine", 8)
    names = [one["workload"].partition("@")[0] for one in shown["workloads"]]
    assert names == ["lm-tiny", "resnet-digits", "resnet-synthetic"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("gate",), "no submission is named (run bench gate A --against B -w WORKLOAD)"),
        (("gate", "wsdd", "-w", "lm-tiny"), "unknown submission 'wsdd'; did you mean 'wsd'?"),
        (("gate", "wsd", "-w", "lm-tinny"), "unknown workload 'lm-tinny'; did you mean 'lm-tiny'?"),
        (("gate", "wsd", "--against", "cosine"), "unknown submission 'cosine'"),
        (("gate", "adamw-cosine", "-w", "lm-tiny"), "adamw-cosine is compared with itself"),
        (("gate", "cma", "-w", "continual-digits"), "cma cannot run on continual-digits: it needs"),
        ((*GATE, "--max-pairs", "0"), "--max-pairs 0: a gate without pairs has no verdict (give at least 6"),
        ((*GATE, "--alpha", "2"), "the error level alpha is 2.0"),
        ((*GATE, "--min-effect", "much"), "'much' must be a percentage of at least 0, such as 3"),
        (
            (*GATE, "--budget", "10"),
            f"--budget 10 on resnet-digits: a gate budget must be from 1,024 to {FACTS.budget.horizon:,} examples",
        ),
        (("gate", "--confirm", "none"), "there is no series in .bench-series/none.json"),
        (
            ("gate", "wsd", "--confirm", "s"),
            "against the submission B of the first candidate (leave out A, ",
        ),
        ((*GATE, "--series", "../x"), "'../x' is not a valid name of a series"),
        (
            ("gate", "--envelope", "lm-tiny", "-w", "lm-tiny", "--against", "wsd", "--alpha", "0.1"),
            "--envelope only measures envelopes, so it does not use --against, --workload, --alpha (leave out",
        ),
        (
            ("gate", "--envelope", "lm-tiny", "--series", "s", "--best"),
            "--envelope only measures envelopes, so it does not use --best, --series",
        ),
        ((*GATE, "--series-file", "x.json"), "not part of a series, so it does not use --series-file"),
    ],
)
def test_bad_input_is_one_message(bench: Bench, arguments: tuple[str, ...], message: str) -> None:
    result = bench(*arguments)
    assert (result.code, result.out) == (2, "")
    assert message in result.err
    assert len(result.err.splitlines()) == 1
    assert bench.runner.ran == []


def test_a_file_edited_in_the_middle(bench: Bench) -> None:
    write(0.9)

    def losses(spec: RunSpec) -> float:
        if spec.study == 3:
            write(0.8)
        return by_marker(spec)

    bench.losses = losses
    result = bench("gate", "./mine.py", "-w", "resnet-digits", "--no-envelope")
    assert result.code == 2
    assert "mine was edited after 3 pairs: a gate cannot mix two sources" in result.err


def test_tables_and_estimates_leave_the_runs_of_gates_out(bench: Bench) -> None:
    bench.losses = by_name(0.9)
    assert bench(*GATE).code == 0
    for identity, record in bench.runner.finished.items():
        ended = msgspec.structs.replace(
            record, counters=Counters(examples=gate_budget(FACTS), seconds=56.0), status="reached"
        )
        folder = Path("runs", identity)
        folder.mkdir(parents=True)
        (folder / "record.json").write_bytes(encode(ended))
    result = bench("leaderboard", "--runs", "runs", "--results", "none")
    assert "no finished runs" in result.out + result.err
    _, _, err = bench("run", "-s", "wsd", "-w", "resnet-digits", "--dry-run")
    assert "no earlier record from this hardware for 1" in err
    # A gate prices its own runs by them: two of 56 seconds and their start.
    assert "a pair: about 2.0 minutes" in bench(*GATE).err


# --- series -----------------------------------------------------------------------------------------


def series(*more: str) -> tuple[str, ...]:
    return ("gate", "./mine.py", "-w", "resnet-digits", "--no-envelope", "--series", "edits", *more)


@pytest.mark.slow
def test_a_series_gives_each_candidate_its_seeds_and_its_level(bench: Bench) -> None:
    bench.losses = by_marker
    studies, levels = [], []
    for loss in (1.2, 0.9, 0.8):
        write(loss)
        before = len(bench.runner.ran)
        _, shown = bench.json(*series())
        studies.append({spec.study // 1000 for spec in bench.runner.ran[before:]})
        levels.append(shown["series"]["level"])
    assert studies == [{1}, {2}, {3}]
    assert levels == pytest.approx([0.024664, 0.006546, 0.006166], rel=1e-3)
    assert shown["series"] == {
        "name": "edits", "candidate": 3, "level": levels[2], "keep": True, "tested": 3, "kept": 2,
    }  # fmt: skip
    assert shown["alpha"] == levels[2]


def test_a_candidate_keeps_its_turn_and_an_undecided_one_goes_on(bench: Bench) -> None:
    bench.losses = by_marker
    write(0.9)
    code, first = bench.json(*series("--max-pairs", "2"))
    assert (code, first["series"]["tested"]) == (4, 0)
    code, second = bench.json(*series())
    assert (code, second["series"]["candidate"], second["series"]["level"]) == (0, 1, first["series"]["level"])
    ran = len(bench.runner.ran)
    # Asked again it is the same turn: the same verdict, nothing runs, and fewer pairs do not undo it.
    code, third = bench.json(*series("--max-pairs", "2"))
    assert (code, third["series"], third["pairs"]) == (0, second["series"], second["pairs"])
    assert len(bench.runner.ran) == ran


def test_an_undecided_candidate_that_another_follows_is_given_up(bench: Bench) -> None:
    bench.losses = by_marker
    write(0.9)
    bench.json(*series("--max-pairs", "2"))
    write(0.8)
    _, shown = bench.json(*series())
    assert (shown["series"]["candidate"], shown["series"]["tested"], shown["series"]["kept"]) == (2, 2, 1)
    write(0.9)
    result = bench(*series())
    assert result.code == 2
    assert "./mine.py is candidate 1 of edits; this candidate was abandoned without a verdict" in result.err


@pytest.mark.slow
def test_confirm_retests_what_was_kept_against_the_original(bench: Bench) -> None:
    bench.losses = by_marker
    write(1.0, "best.py")
    for loss in (0.9, 1.3, 0.8):
        write(loss)
        code, _ = bench.json(*series("--against", "./best.py"))
        if code == 0:
            write(loss, "best.py")
    # The files were overwritten since; the copies count.
    write(5.0)
    write(5.0, "best.py")
    before = len(bench.runner.ran)
    code, shown = bench.json("gate", "--confirm", "edits", "--no-envelope")
    assert code == 0
    assert [entry["candidate"] for entry in shown["confirmed"]] == [1, 3]
    assert [entry["estimate"] for entry in shown["confirmed"]] == pytest.approx([1 / 0.9, 1 / 0.8])
    fresh = bench.runner.ran[before:]
    assert {spec.purpose for spec in fresh} == {"confirm"}
    assert {spec.study // 1000 for spec in fresh} == {1, 3}
    bench.losses = by_name(1.0, "nobody")
    bench.runner.finished.clear()
    assert bench("gate", "--confirm", "edits", "--no-envelope").code == 1
    for copy in Path(".bench-series/edits").glob("*/mine.py"):
        copy.write_text(copy.read_text() + "EDITED = 1\n")
    result = bench("gate", "--confirm", "edits", "--no-envelope")
    assert result.code == 2
    assert "is not the source that was gated" in result.err


def test_confirm_asks_what_the_series_asked(bench: Bench) -> None:
    """It has the smallest effect, the seed and the learning rate of the series."""
    bench.losses = by_marker
    write(0.9)
    name = resolve_submission("./mine.py", load_registry()).name
    write_best_setting(Path("best_settings.json"), best_setting(name, 0.004, "mine.py:Mine"))
    asked = series("--best", "--min-effect", "2", "--seed", "3")
    before = len(bench.runner.ran)
    assert bench(*asked).code == 0
    gated = bench.runner.ran[before:]
    assert {spec.hparams["lr"] for spec in gated if spec.submission.name == name} == {0.004}
    write_best_setting(Path("best_settings.json"), best_setting(name, 0.008, "mine.py:Mine"))
    before = len(bench.runner.ran)
    _, shown = bench.json("gate", "--confirm", "edits", "--no-envelope")
    fresh = bench.runner.ran[before:]
    assert {spec.root_seed for spec in fresh} == {3}
    assert {spec.hparams["lr"] for spec in fresh if spec.submission.name == name} == {0.004}
    (confirmed,) = shown["confirmed"]
    assert confirmed["min_effect"] == pytest.approx(0.02)
    _, again = bench.json(*asked)
    assert again["series"]["candidate"] == 2, "another learning rate is another candidate"


def test_a_series_file_without_a_suffix(bench: Bench) -> None:
    bench.losses = by_marker
    write(0.9)
    assert bench(*series("--series-file", "state")).code == 0
    assert Path("state").is_file()
    assert bench("gate", "--confirm", "edits", "--series-file", "state", "--no-envelope").code == 0


def test_a_series_that_kept_nothing_has_nothing_to_confirm(bench: Bench) -> None:
    bench.losses = by_marker
    write(1.3)
    assert bench(*series("--series-file", "state.json")).code == 1
    assert Path("state.json").is_file()
    result = bench("gate", "--confirm", "edits", "--series-file", "state.json")
    assert (result.code, result.out) == (0, "")
    assert "no candidate of the series" in result.err


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--alpha", "0.1"), "was begun with another --alpha"),
        (("--seed", "3"), "was begun with another --seed"),
        (("--min-effect", "5"), "was begun with another --min-effect"),
        (("--by", "time"), "was begun with another --by"),
        (("--budget", "2048"), "were gated at another --budget (leave out --budget"),
        (("--best",), "were gated without --best (leave out --best"),
    ],
)
def test_confirm_refuses_what_the_series_did_not_ask(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, given: tuple[str, ...], message: str
) -> None:
    bench.losses = by_marker
    write(0.9)
    asked = ("--alpha", "0.05", "--seed", "2", "--min-effect", "2")
    assert bench(*series(*asked)).code == 0
    result = bench("gate", "--confirm", "edits", *given)
    assert result.code == 2
    assert message in result.err
    monkeypatch.setenv("BENCH_SEED", "7")
    assert bench("gate", "--confirm", "edits", *asked).code == 0, "equal options and the environment are no error"


def test_a_series_keeps_its_alpha(bench: Bench) -> None:
    bench.losses = by_marker
    write(0.9)
    bench(*series())
    result = bench(*series("--alpha", "0.1"))
    assert result.code == 2
    assert "the series edits was begun with another --alpha" in result.err
    Path(".bench-series/edits.json").write_text("{")
    assert "is damaged" in bench(*series()).err
