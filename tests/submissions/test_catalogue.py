"""The catalogue as a whole: every method under an obvious name, what is searched, what is refused before it runs."""

from __future__ import annotations

from typing import Any

import pytest

from harness import cli
from harness.contract import hyperparameters
from harness.contract.domains import Fixed
from harness.errors import UsageError
from harness.planning import compose, rulesets
from harness.planning.trials import PlanSettings, plan_trials
from harness.plugins.registry import load_registry
from tests import micro

REGISTRY = load_registry()
SUBMISSIONS = {entry.name for entry in REGISTRY.submissions()}
#: Method -> what a user may call it: a part, or a submission.
NAMES = {
    "constant": ("schedule:constant", "adamw-constant"),
    "inverse square root": ("schedule:inverse-sqrt", "inverse-sqrt"),
    "cosine": ("schedule:cosine", "adamw-cosine", "cosine-10pct"),
    "linear": ("schedule:linear", "linear-10pct"),
    "D2Z": ("schedule:d2z", "d2z"),
    "WSD": ("schedule:wsd", "wsd", "minicpm"),
    "WSD-S": ("schedule:wsd-s", "wsd-s"),
    "WSDC": ("schedule:wsdc", "wsdc"),
    "cyclic cosine": ("schedule:cyclic-cosine", "cyclic-cosine"),
    "infinite": ("schedule:infinite", "infinite"),
    "re-warming and re-decaying": ("schedule:rewarm", "schedule:re-warm", "rewarm", "rewarm-replay"),
    "Reuse, don't retrain": ("schedule:reuse-dont-retrain", "reuse-dont-retrain"),
    "REX": ("schedule:rex", "rex", "rex-sgd"),
    "UBA": ("schedule:uba", "uba", "uba-sgd"),
    "Power": ("schedule:power", "power"),
    "CLR": ("schedule:clr", "schedule:triangular", "clr", "clr-sgd"),
    "one-cycle": ("schedule:one-cycle", "schedule:1cycle", "one-cycle", "one-cycle-sgd"),
    "step": ("schedule:step", "schedule:step-30-60-90", "step", "step-sgd"),
    "cosine-power": ("schedule:cosine-power", "cosine-power"),
    "multiplicative cyclic": ("schedule:multiplicative-cyclic", "multiplicative-cyclic"),
    "slow start, fast decay": ("schedule:slow-start-fast-decay", "slow-start-fast-decay"),
    "large, then decay": ("schedule:large-then-decay", "large-then-decay"),
    "AdamW": ("optimizer:adamw", "wsd"),
    "SGDW": ("optimizer:sgdw", "sgdw-wsd"),
    "Nesterov": ("optimizer:nesterov", "nesterov-wsd"),
    "heavy ball": ("optimizer:heavy-ball", "heavy-ball-wsd"),
    "NAdamW": ("optimizer:nadamw", "nadamw-wsd", "nadamw-algoperf", "nadamw-algoperf-points"),
    "RAdam": ("optimizer:radam", "radam-wsd"),
    "AdaBound": ("optimizer:adabound", "adabound-wsd", "amsbound-wsd"),
    "AdaMod": ("optimizer:adamod", "adamod-wsd"),
    "FAdam": ("optimizer:fadam", "fadam-wsd"),
    "Adafactor": ("optimizer:adafactor", "adafactor-wsd"),
    "LAMB": ("optimizer:lamb", "lamb-wsd"),
    "Lion": ("optimizer:lion", "lion-wsd"),
    "Muon": ("optimizer:muon", "muon-wsd"),
    "SOAP": ("optimizer:soap", "soap-wsd"),
    "Shampoo": ("optimizer:shampoo", "shampoo-wsd"),
    "AdEMAMix": ("optimizer:ademamix", "ademamix-wsd"),
    "SAM": ("gradient:sam", "sam-sgd"),
    "Schedule-Free": (
        "optimizer:schedule-free-sgd",
        "optimizer:schedule-free-adamw",
        "optimizer:schedule-free-radam",
        "schedule-free-sgd",
        "schedule-free-adamw",
        "schedule-free-radam",
    ),
    "DoG": ("optimizer:dog", "dog"),
    "L-DoG": ("optimizer:ldog", "optimizer:l-dog", "ldog"),
    "Prodigy": ("optimizer:prodigy", "prodigy"),
    "GaLore": ("optimizer:galore", "galore-wsd"),
    "EMA": ("averaging:ema", "wsd-ema"),
    "SWA": ("averaging:swa", "schedule:swa-lr", "adamw-swa", "sgd-swa"),
    "LAWA": ("averaging:lawa", "wsd-lawa"),
    "CMA": ("averaging:cma", "cma"),
    "CDMA": ("cdma",),
    "WSM": ("averaging:wsm", "wsm"),
    "polynomial decay": ("averaging:polynomial", "averaging:polynomial-decay", "adamw-polynomial"),
}


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
def test_every_method_has_an_obvious_name(names: tuple[str, ...]) -> None:
    for name in names:
        kind, colon, rest = name.partition(":")
        if colon:
            assert REGISTRY.part(kind, rest).kind == kind
        else:
            compose.compose(REGISTRY.submission(name), REGISTRY)


def test_no_alias_hides_another_part() -> None:
    names = [name for part in REGISTRY.parts() for name in {f"{part.kind}:{n}" for n in (part.name, *part.aliases)}]
    assert len(names) == len(set(names))


def test_an_alias_composes_and_the_composition_has_the_parts_own_name() -> None:
    composition = compose.compose(compose.parse_parts("adamw+triangular+polynomial-decay"), REGISTRY)
    assert [part.id for part in composition.parts] == ["optimizer:adamw", "schedule:clr", "averaging:polynomial"]


@pytest.mark.parametrize("text", ["muon+rex+ema", "nesterov+one-cycle+swa", "lion+d2z+lawa", "soap+uba+wsm"])
def test_parts_compose_by_name_and_plan(text: str) -> None:
    asked = PlanSettings(ruleset=rulesets.ruleset("external"))
    specs = plan_trials(micro.ENTRY, compose.parse_parts(text), REGISTRY, asked)
    assert len(specs) == 15
    assert len({tuple(spec.hparams.items()) for spec in specs}) == 15


# --- what is searched -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["wsd", "wsdc", "minicpm", "infinite", "clr", "one-cycle", "multiplicative-cyclic"])
def test_a_schedules_shape_is_not_searched(name: str) -> None:
    """It is what a method is known by; five trials are few, and some shapes do not go with the other defaults."""
    composition = compose.compose(REGISTRY.submission(name), REGISTRY)
    shape = composition.space["shape"]
    assert isinstance(shape, Fixed)
    assert shape.values is not None
    external = PlanSettings(ruleset=rulesets.ruleset("external"))
    drawn = plan_trials(micro.ENTRY, REGISTRY.submission(name), REGISTRY, external)
    assert {spec.hparams["shape"] for spec in drawn} == {shape.default}


def test_minicpm_is_tuned_by_its_half_life() -> None:
    external = PlanSettings(ruleset=rulesets.ruleset("external"))
    drawn = plan_trials(micro.ENTRY, REGISTRY.submission("minicpm"), REGISTRY, external)
    assert len({spec.hparams["half_life"] for spec in drawn}) == 15


def test_algoperfs_points_are_the_trials_of_every_study() -> None:
    from submissions.optimizers.nadamw import POINTS

    external = PlanSettings(ruleset=rulesets.ruleset("external"))
    entry = REGISTRY.submission("nadamw-algoperf-points")
    for spec in plan_trials(micro.ENTRY, entry, REGISTRY, external):
        point = POINTS[spec.trial]
        tried = ("lr", "beta1", "beta2", "weight_decay", "warmup")
        assert {name: spec.hparams[name] for name in tried} == {name: point[name] for name in tried}
        assert spec.hparams["final"] == 0


# --- what is refused ------------------------------------------------------------------------------

BAD: list[tuple[str, tuple[str, ...], str]] = [
    # Warmups, of every part that has one.
    *((part.id, ("warmup=-1",), "warmup=-1") for part in REGISTRY.parts() if "warmup" in part.space),
    *(
        (part.id, ("warmup=5000",), "steps(warmup)")
        for part in REGISTRY.parts()
        if "warmup" in part.space and "horizon" in part.needs
    ),
    # Decays.
    *(
        (part.id, ("decay=5000",), "steps(decay)")
        for part in REGISTRY.parts()
        if part.kind == "schedule" and "decay" in part.space
    ),
    *((part.id, ("decay=-1",), "decay=-1") for part in REGISTRY.parts() if "decay" in part.space),
    ("schedule:infinite", ("warmup=0.3", "cooldown=0.4", "decay=0.4"), "steps(cooldown)"),
    ("schedule:wsdc", ("tail=0.9", "decay=0.2"), "steps(tail)"),
    # Shapes.
    *(
        (part.id, ("shape=sawtooth",), "shape=sawtooth is not allowed (choose one of: ")
        for part in REGISTRY.parts()
        if "shape" in part.space
    ),
    ("averaging:wsm", ("merge_shape=sawtooth",), "merge_shape=sawtooth is not allowed (choose one of: "),
    # Decay rates.
    *(
        (part.id, (f"{name}=1",), f"{name}=1 is out of range")
        for part in REGISTRY.parts()
        for name in part.space
        if name in ("beta1", "beta2", "beta3", "momentum", "adam_beta1", "adam_beta2", "ema_decay")
    ),
    ("schedule:uba", ("phi=-0.1",), "phi=-0.1"),
    ("schedule:one-cycle", ("max_momentum=1",), "max_momentum=1"),
    ("averaging:lawa", ("lawa_count=0",), "lawa_count=0"),
    ("averaging:swa", ("swa_start=5000",), "steps(swa_start)"),
    ("averaging:cma", ("merge_alpha=1.5",), "merge_alpha=1.5"),
    # Submissions: one per way of being put together.
    ("wsd", ("decay=0.6", "warmup=0.5"), "steps(warmup) + steps(decay) <= horizon"),
    ("minicpm", ("shape=linear",), "shape=linear"),
    ("sam-sgd", ("rho=-0.1",), "rho=-0.1"),
    ("sam-sgd", ("decay=5000",), "steps(decay)"),
    ("schedule-free-adamw", ("beta1=1",), "beta1=1"),
    ("nadamw-algoperf", ("warmup=5000",), "steps(warmup)"),
    ("adamw-swa", ("swa_start=5000",), "steps(swa_start)"),
    ("ademamix-wsd", ("beta3=0.95", "beta1=0.97"), "beta1 < beta3"),
    ("muon+rex+ema", ("ema_decay=1",), "ema_decay=1"),
    ("muon+rex+ema", ("warmup=5000",), "steps(warmup)"),
    ("lion+uba", ("phi=-1",), "phi=-1"),
    ("adamw+wsd+lawa", ("beta2=1",), "beta2=1"),
    ("adamw+triangular", ("shape=sawtooth",), "triangular2"),
]


def asked(pairs: tuple[str, ...]) -> list[str]:
    return [argument for pair in pairs for argument in ("--set", pair)]


@pytest.mark.parametrize(("name", "pairs", "word"), BAD, ids=lambda value: str(value).replace(" ", ""))
def test_showing_refuses_bad_hyperparameters_by_name(
    capsys: pytest.CaptureFixture[str], name: str, pairs: tuple[str, ...], word: str
) -> None:
    code = cli.invoke(["show", name, *asked(pairs)])
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert word in err
    assert "Traceback" not in err


@pytest.mark.parametrize(("name", "pairs", "word"), BAD, ids=lambda value: str(value).replace(" ", ""))
def test_planning_refuses_bad_hyperparameters_by_name(name: str, pairs: tuple[str, ...], word: str) -> None:
    kind, colon, _ = name.partition(":")
    with_part = {"schedule": f"sgdw+{name}", "optimizer": name, "averaging": f"sgdw+{name}"}
    if colon and "stream" in REGISTRY.part(kind, name.partition(":")[2]).needs:
        pytest.skip("runs on a stream only")
    entry = (
        REGISTRY.submission(name) if name in SUBMISSIONS else compose.parse_parts(with_part[kind] if colon else name)
    )
    overrides: dict[str, Any] = dict(pair.split("=") for pair in pairs)
    with pytest.raises(UsageError) as refused:
        plan_trials(micro.ENTRY, entry, REGISTRY, PlanSettings(ruleset=rulesets.ruleset("quick"), overrides=overrides))
    assert word in str(refused.value)


@pytest.mark.parametrize("name", ["wsd", "muon+rex+ema", "lion+wsd"])
def test_a_dry_run_refuses_before_anything_is_written(
    capsys: pytest.CaptureFixture[str], tmp_path: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code = cli.invoke(["run", "-s", name, "-w", "resnet-digits", "--dry-run", "--set", "warmup=-5"])
    assert code == 2
    assert "warmup=-5" in capsys.readouterr().err
    code = cli.invoke(["run", "-s", name, "-w", "resnet-digits", "--set", "warmup=5000"])
    assert code == 2
    assert "steps(warmup)" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_shares_that_make_up_a_whole_are_accepted() -> None:
    """0.2·T + 0.8·T is more than T for many T, but for rounding."""
    part = REGISTRY.part("schedule", "wsd")
    for horizon in range(1, 500):
        for warmup, decay in ((0.2, 0.8), (0.1, 0.9), (0.05, 0.95)):
            given = {"warmup": warmup, "decay": decay}
            hyperparameters.resolve(part.space, given, part.checks, {"horizon": horizon})
        with pytest.raises(UsageError):
            hyperparameters.resolve(part.space, {"warmup": 0.2, "decay": 0.8001}, part.checks, {"horizon": horizon})
