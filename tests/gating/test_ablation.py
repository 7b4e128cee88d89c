"""`bench ablate`: what is removed, and what the gates say, with runs made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.contract.domains import Fixed, LogUniform, Space
from harness.contract.run import RunSpec
from harness.errors import UsageError
from harness.gating import ablation, session
from harness.gating.ablation import list_variants
from harness.planning.compose import compose
from harness.planning.resolve import resolve_submission
from harness.plugins.registry import load_registry
from harness.worker.recipe import Recipe
from tests.gating.test_command import Bench, bench

__all__ = ["bench"]  # the fixture
REGISTRY = load_registry()
#: Suffix of the name of a variant of wsd-ema → its loss, relative to that of wsd-ema.
LOSSES = {"-without-averaging": 1.1, "-warmup-0.0": 1.0, "-decay-0.0": 0.9}
ABLATE = ("ablate", "wsd-ema", "-w", "resnet-digits", "--no-envelope", "--only", "averaging,warmup,decay")


def by_variant(spec: RunSpec) -> float:
    luck = 1 + 0.01 * (spec.seeds.data % 7)
    return luck * LOSSES.get(spec.submission.name.removeprefix("wsd-ema"), 1.0)


def removals(name: str, only: tuple[str, ...] = ()) -> dict[str, str]:
    entry = resolve_submission(name, REGISTRY)
    return {f"{v.addition} {v.removal}": v.make().name for v in list_variants(entry, REGISTRY, only)}


# --- what is removed ----------------------------------------------------------------------------


def test_every_part_but_the_optimizer_and_every_setting_is_removed() -> None:
    assert removals("wsd-ema") == {
        "schedule:wsd left out": "wsd-ema-without-schedule",
        "averaging:ema left out": "wsd-ema-without-averaging",
        "beta1=0.9 beta1=0.0": "wsd-ema-beta1-0.0",
        "beta2=0.95 beta2=0.0": "wsd-ema-beta2-0.0",
        "weight_decay=0.1 weight_decay=0.0": "wsd-ema-weight_decay-0.0",
        "warmup=0.05 warmup=0.0": "wsd-ema-warmup-0.0",
        "decay=0.2 decay=0.0": "wsd-ema-decay-0.0",
        "ema_decay=0.98 ema_decay=0.0": "wsd-ema-ema_decay-0.0",
    }


def test_a_setting_of_the_submission_gets_the_default_of_its_part() -> None:
    assert removals("minicpm", ("shape",)) == {"shape=half-life shape=1-sqrt": "minicpm-shape-1-sqrt"}


def test_every_variant_of_every_submission_can_be_composed() -> None:
    for entry in (entry for entry in REGISTRY.submissions() if len(entry.parts) > 1):
        for variant in list_variants(entry, REGISTRY):
            composition = compose(variant.make(), REGISTRY)
            name, equals, value = variant.removal.partition("=")
            if equals:
                assert str(composition.space[name].default) == value
            else:
                assert variant.addition not in {part.id for part in composition.parts}


def test_an_unknown_addition_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="no addition 'warmpu'") as caught:
        removals("wsd", ("warmpu",))
    assert "schedule" in (caught.value.fix or "")


def test_a_recipe_in_a_file_loses_its_parts_in_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_PLUGIN_TIMEOUT", "600")  # a busy machine imports torch slowly
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(
        "import torch\nfrom harness.api import Fixed, LogUniform, Recipe\n\n\n"
        "def sgd(parameters, lr):\n    return torch.optim.SGD([p.tensor for p in parameters], lr=lr)\n\n\n"
        "def penalty(model, strength):\n    return lambda: strength * sum(p.norm() for p in model.parameters())\n"
        "\n\nMine = Recipe(\n    optimizer=sgd, schedule='wsd', averaging=None, penalty=penalty,\n"
        "    search_space={'lr': LogUniform(1e-3, 1.0), 'strength': Fixed(1e-4, limits=(0, 1))},\n)\n"
    )
    variants = {v.addition: v for v in list_variants(resolve_submission("./mine.py", REGISTRY), REGISTRY)}
    assert list(variants) == ["schedule:wsd", "penalty", "warmup=0.05", "decay=0.2", "strength=0.0001"]
    assert not ablation.FOLDER.exists(), "files are written when a gate needs them"
    without = variants["penalty"].make()
    assert without.name == "mine-without-penalty"
    assert set(without.space) == {"lr"}, "a hyperparameter of the penalty alone is gone"
    copy = tmp_path / ablation.FOLDER / "mine_without_penalty.py"
    assert copy.read_text().startswith(Path("mine.py").read_text().rstrip())
    assert without.load == f"{copy}:Mine"


def test_a_recipe_keeps_the_hyperparameters_of_its_other_parts() -> None:
    def optimizer(parameters: object, lr: float, shared: float) -> None: ...

    def penalty(model: object, shared: float, alone: float) -> None: ...

    space: Space = {"lr": LogUniform(1e-3, 1.0), "shared": Fixed(1.0), "alone": Fixed(1.0), "warmup": Fixed(0.1)}
    recipe = Recipe(optimizer=optimizer, schedule="wsd", penalty=penalty, search_space=space, checks=("alone < 2",))
    without = recipe.without("penalty", keep={"warmup"})
    assert (without.penalty, without.schedule) == (None, "wsd")
    assert set(without.search_space) == {"lr", "shared", "warmup"}
    assert without.checks == ()
    assert set(recipe.without("schedule").search_space) == {"lr", "shared", "alone"}
    assert recipe.without("schedule").schedule == "constant"


# --- what the gates say -------------------------------------------------------------------------


def test_the_table_tells_what_does_nothing(bench: Bench) -> None:
    bench.losses = by_variant
    result = bench(*ABLATE[:-1], "warmup")
    assert result.code == 0, result.err
    rows = {line.split()[0]: line.split() for line in result.out.splitlines() if line.strip()}
    assert rows["warmup=0.05"][1:4] == ["warmup=0.0", "does", "nothing"]
    assert "additions without a relevant effect: warmup=0.05" in result.out


def test_the_whole_runs_once_and_the_level_is_shared(bench: Bench) -> None:
    bench.losses = by_variant
    code, printed = bench.json(*ABLATE)
    assert code == 0
    assert printed["schema"] == 1
    additions = {row["addition"]: row for row in printed["additions"]}
    assert {name: row["effect"] for name, row in additions.items()} == {
        "averaging:ema": "helps",
        "warmup=0.05": "none",
        "decay=0.2": "harms",
    }
    assert all(row["gate"]["alpha"] == pytest.approx(0.05 / 3) for row in additions.values())
    assert all(row["gate"]["a"] == "wsd-ema" for row in additions.values())
    most = max(row["gate"]["pairs"] for row in additions.values())
    assert sum(spec.submission.name == "wsd-ema" for spec in bench.runner.ran) == most


def test_undecided_is_exit_code_4_and_a_limit_of_minutes_is_for_all(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench.losses = by_variant
    code, printed = bench.json(*ABLATE, "--max-pairs", "1")
    assert code == 4
    assert {row["effect"] for row in printed["additions"]} == {"undecided"}
    readings = iter([0.0, 0.0, *[600.0] * 10])
    keywords = dict(ablation.run_ablation.__kwdefaults__ or {}, clock=lambda: next(readings))
    monkeypatch.setattr(ablation.run_ablation, "__kwdefaults__", keywords)
    code, printed = bench.json(*ABLATE, "--max-minutes", "5")
    assert code == 4
    assert [row["effect"] for row in printed["additions"]][1:] == ["not run", "not run"]
    assert "repeat the command" in printed["additions"][2]["reason"]


def test_a_gate_that_cannot_run_says_what_to_do(bench: Bench) -> None:
    bench.losses = lambda spec: None
    code, printed = bench.json(*ABLATE[:-1], "warmup")
    (row,) = printed["additions"]
    assert (code, row["effect"]) == (4, "not run")
    assert "both broke down on resnet-digits" in row["reason"]
    assert "read the logs of runs run-" in row["reason"]


def test_failed_runs_are_repeated_on_request(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.losses = by_variant
    asked: list[bool] = []
    run_trials = vars(session)["run_trials"]

    def remember(specs: Any, runs: Any, **keywords: Any) -> Any:
        asked.append(keywords["options"].retry_failed)
        return run_trials(specs, runs, **keywords)

    monkeypatch.setattr(session, "run_trials", remember)
    for more in ((), ("--retry-failed",)):
        bench(*ABLATE[:-1], "warmup", "--max-pairs", "1", *more)
    assert asked == [False, True]


def test_a_dry_run_runs_nothing(bench: Bench) -> None:
    code, printed = bench.json(*ABLATE, "--dry-run")
    assert (code, bench.runner.ran) == (0, [])
    assert printed["additions"][0] == {"addition": "averaging:ema", "removal": "left out"}


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (["--alpha", "nan"], "the error level alpha is nan"),
        (["--max-pairs", "0"], "a gate without pairs has no verdict"),
        (["--max-minutes", "-1"], "no pair fits into this time"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_dry_run_refuses_what_the_run_refuses(bench: Bench, flags: list[str], problem: str) -> None:
    result = bench(*ABLATE, "--dry-run", *flags)
    assert result.code == 2
    assert problem in result.err
