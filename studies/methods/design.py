"""Read the design of the study from `design.yaml`: its arms, stages and claims.

An arm is a submission that the study compares with others. A family is a group of arms. Its first arm is the baseline
with which its other arms are compared. A main arm is an arm of a family. A stage of the study is one workload at one
budget (not a stage of a stream). In a stage, several settings of each arm run on one seed, the tuning seed. Then the
best settings run on other seeds, the fresh seeds. "The study" is this whole experiment. In rulesets and runs, a study
is one repetition with its own seeds.
"""

from __future__ import annotations

import functools
from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml

from harness.contract.base import Data
from harness.contract.ruleset import Ruleset
from harness.errors import unknown_name_error
from harness.planning.rulesets import ruleset

#: The quantity by which arms are compared. `loss`: the metric on the held-out split `score` at the end of the budget.
#: `target`: the number of examples drawn until the target is met.
Measure = Literal["loss", "target"]
#: What a claim states about its arm: it is better than another arm, or not worse.
ClaimKind = Literal["better", "not worse"]
#: The settings that are tried for an arm. `points`: pairs of a learning rate and a horizon fraction. `rates`: learning
#: rates. `defaults`: the default setting and no other.
Settings = Literal["points", "rates", "defaults"]
#: The purpose of a stage. `full`: to test claims about full budgets. `small`: to test claims about a small budget.
#: `others`: to run the arms outside the families with a tuned learning rate. `untuned`: to run the arms outside the
#: families with default hyperparameters.
Role = Literal["full", "small", "others", "untuned"]

FOLDER = Path(__file__).parent
DESIGN = FOLDER / "design.yaml"


class Stage(Data, frozen=True, kw_only=True):
    """One workload at one budget.

    Args:
        role: the purpose of the stage.
        workload: name of the workload.
        arms: names of the submissions that run in this stage.
        seeds: number of fresh seeds for each best setting.
        budget: budget in examples; None for the workload's own budget.
        settings: the settings that run on the tuning seed. With `defaults`, nothing runs on the tuning seed.
        measures: the measures that choose best settings. The best setting by each measure runs on fresh seeds.
        eval_every: number of examples between evaluations; None for the workload's own number.
    """

    role: Role
    workload: str
    arms: tuple[str, ...]
    seeds: int
    budget: int | None = None
    settings: Settings = "points"
    measures: tuple[Measure, ...] = ("loss", "target")
    eval_every: int | None = None

    @property
    def title(self) -> str:
        """The name of the workload, followed by the budget if the budget is not the workload's own budget."""
        return self.workload if self.budget is None else f"{self.workload}, {self.budget:,} examples"


class StudiedVersion(Data, frozen=True, kw_only=True):
    """The version of a workload in the published runs. The installed version has another target or budget.

    Args:
        version: the version.
        target: value of the target.
        horizon: the budget in examples. New runs have this budget, too.
        batch_size: the default batch size. New runs have this batch size, too.
    """

    version: str
    target: float
    horizon: int
    batch_size: int


class Claim(Data, frozen=True, kw_only=True):
    """A claim of a paper about two methods. The claim is tested on pairs of runs with the same fresh seed.

    Args:
        paper: title of the paper.
        says: the part of the claim that can be tested here, in a few words.
        arm: the method that is claimed to be better, or not worse.
        other: the other method, with which `arm` is compared.
        measure: the quantity that is compared.
        kind: whether the arm is claimed to be better or not worse.
        small: whether the claim is tested at the small budget and not at the full budgets.
        confounds: differences between this study and the paper's experiments.
    """

    paper: str
    says: str
    arm: str
    other: str
    measure: Measure = "loss"
    kind: ClaimKind = "better"
    small: bool = False
    confounds: str


class Design(Data, frozen=True, kw_only=True):
    """The design of the study, which is fixed before the first run.

    Args:
        ruleset: the ruleset of every run. `ruleset.trials` is the number of settings that are tried for a main arm (an
            arm of a family). `ruleset.studies` is the number of fresh seeds of each best setting, unless the stage has
            another number.
        root_seed: the root seed, from which all seeds are derived.
        rates: number of learning rates that are tried for each arm that is not a main arm.
        alpha: two-sided error rate after correction for multiple tests. The correction is separate for each table.
            All claims are one table.
        min_effect: smallest relative difference (ratio − 1) that supports a claim.
        versions: name of a workload -> the version on which the study ran. Every other workload has the installed
            version.
        families: the names of the arms of each family. The first arm is the baseline of the family.
        stages: the stages, in the order in which they run.
        claims: the claims, in the order in which the page shows them.
    """

    ruleset: Ruleset
    root_seed: int
    rates: int
    alpha: float
    min_effect: float
    versions: dict[str, StudiedVersion]
    families: dict[str, tuple[str, ...]]
    stages: tuple[Stage, ...]
    claims: tuple[Claim, ...]

    def budget(self, stage: Stage) -> int | None:
        """Return the budget of a stage in examples; None for the budget of the installed workload."""
        studied = self.versions.get(stage.workload)
        return stage.budget or (studied.horizon if studied else None)

    @property
    def full_stages(self) -> tuple[Stage, ...]:
        """The stages at the full budgets of the workloads. A claim about full budgets is tested on all these stages."""
        return tuple(stage for stage in self.stages if stage.role == "full")

    @property
    def small_stage(self) -> Stage:
        """The stage at a small budget."""
        return self._only("small")

    @property
    def others_stage(self) -> Stage:
        """The stage of the arms outside the families. For these arms, only the learning rate is tuned."""
        return self._only("others")

    @property
    def untuned_stage(self) -> Stage:
        """The stage of the arms outside the families at their defaults."""
        return self._only("untuned")

    def stages_of(self, claim: Claim) -> tuple[Stage, ...]:
        """Return the stages on which a claim is tested."""
        return (self.small_stage,) if claim.small else self.full_stages

    def select_stages(
        self, arms: Collection[str] = (), workloads: Collection[str] = (), seeds: int | None = None
    ) -> tuple[Stage, ...]:
        """Return the stages restricted to some arms, workloads and seeds.

        Args:
            arms: names of the arms; all arms if empty.
            workloads: names of the workloads; all workloads if empty.
            seeds: number of fresh seeds for each best setting; the number in the design if None.

        Raises:
            UsageError: no stage contains one of the arms or workloads.
        """
        for kind, names, known in (
            ("arm", arms, {arm for stage in self.stages for arm in stage.arms}),
            ("workload", workloads, {stage.workload for stage in self.stages}),
        ):
            for name in names:
                if name not in known:
                    raise unknown_name_error(f"{kind} of the study", name, known)
        selected = []
        for stage in self.stages:
            stage_arms = tuple(arm for arm in stage.arms if not arms or arm in arms)
            if stage_arms and (not workloads or stage.workload in workloads):
                selected.append(msgspec.structs.replace(stage, arms=stage_arms, seeds=seeds or stage.seeds))
        return tuple(selected)

    def _only(self, role: Role) -> Stage:
        (stage,) = (stage for stage in self.stages if stage.role == role)
        return stage


@functools.cache
def read_design(path: Path = DESIGN) -> Design:
    """Read the design in a YAML file.

    Raises:
        UsageError: the ruleset of the design does not exist or is invalid.
        msgspec.ValidationError: a field is missing or unknown, or has the wrong type.
    """
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    rules = ruleset(str(path.with_name(content["ruleset"])))
    families, other_arms = content["families"], content.pop("others")
    main = list(dict.fromkeys(arm for arms in families.values() for arm in arms))
    arms = {"main": main, "others": other_arms}
    stages = [{"seeds": rules.studies, **stage, "arms": arms[stage["arms"]]} for stage in content["stages"]]
    claims = [{"paper": entry["paper"], **claim} for entry in content.pop("papers") for claim in entry["claims"]]
    return msgspec.convert({**content, "ruleset": rules, "stages": stages, "claims": claims}, Design)
