"""The design of the study: its arms, stages and claims, read from `design.yaml`."""

from __future__ import annotations

import functools
from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml

from harness.contract.base import Data
from harness.contract.run import Ruleset
from harness.errors import unknown_name_error
from harness.planning.rulesets import ruleset

#: `loss`: the score metric at the end of the budget. `target`: examples drawn at the first evaluation at the target.
Measure = Literal["loss", "target"]
#: What a claim says of its arm.
ClaimKind = Literal["better", "not worse"]
#: What is tried for an arm: points over its learning rate and its horizon, learning rates alone, or its defaults.
Settings = Literal["points", "rates", "defaults"]
#: What a stage is for: claims about full budgets, claims about a small one, the other arms, and those untuned.
Role = Literal["full", "small", "others", "untuned"]

FOLDER = Path(__file__).parent
DESIGN = FOLDER / "design.yaml"


class Stage(Data, frozen=True, kw_only=True):
    """One workload at one budget.

    Args:
        role: what the page uses it for.
        workload: its name.
        arms: submissions that run there.
        seeds: fresh seeds of each best setting.
        budget: in examples; the workload's own when None.
        settings: what is tried on the tuning seed; nothing for `defaults`.
        measures: those whose best settings are run on fresh seeds.
        eval_every: examples between evaluations; the workload's own when None.
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
        """The workload, and its budget where that is not the workload's own."""
        return self.workload if self.budget is None else f"{self.workload}, {self.budget:,} examples"


class Claim(Data, frozen=True, kw_only=True):
    """What a paper says of two methods, as a test on pairs of fresh seeds.

    Args:
        paper: its title.
        says: the claim in a few words, as far as it can be tested here.
        arm, other: the method said to be better (or not to be worse), and the one it is compared with.
        measure: what is compared.
        kind: whether the arm is said to be better, or only not to be worse.
        small: tested at the small budget instead of at the full ones.
        confounds: what differs from the paper's setting.
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
    """All that is fixed before the first run.

    Args:
        ruleset: the rules of every run; its `trials` are the settings tried for a main arm, its `studies` the fresh
            seeds of each best setting.
        root_seed: root of all seeds.
        rates: learning rates tried for an arm that is not a main arm.
        alpha: two-sided error of every table and of the list of claims, after correction.
        min_effect: a ratio closer to 1 than this supports no claim.
        families: family to its arms, the first of which the others are compared with.
        stages: in the order in which they run.
        claims: in the order of the page.
    """

    ruleset: Ruleset
    root_seed: int
    rates: int
    alpha: float
    min_effect: float
    families: dict[str, tuple[str, ...]]
    stages: tuple[Stage, ...]
    claims: tuple[Claim, ...]

    @property
    def main_arms(self) -> tuple[str, ...]:
        """The arms of all families, each once."""
        return tuple(dict.fromkeys(arm for arms in self.families.values() for arm in arms))

    @property
    def full_stages(self) -> tuple[Stage, ...]:
        """The workloads at their own budgets, on which claims about full budgets are tested together."""
        return tuple(stage for stage in self.stages if stage.role == "full")

    @property
    def small_stage(self) -> Stage:
        """The stage at a small budget."""
        return self._only("small")

    @property
    def others_stage(self) -> Stage:
        """The stage of the arms that are in no family, tuned by learning rate alone."""
        return self._only("others")

    @property
    def untuned_stage(self) -> Stage:
        """The stage of the same arms at their defaults."""
        return self._only("untuned")

    def stages_of(self, claim: Claim) -> tuple[Stage, ...]:
        """The stages on which a claim is tested."""
        return (self.small_stage,) if claim.small else self.full_stages

    def select_stages(
        self, arms: Collection[str] = (), workloads: Collection[str] = (), seeds: int | None = None
    ) -> tuple[Stage, ...]:
        """The stages with some of their arms and seeds.

        Args:
            arms: only these; all when empty.
            workloads: only these; all when empty.
            seeds: fresh seeds of each best setting; as designed when None.

        Raises:
            UsageError: an arm or a workload that is in no stage.
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
            chosen = tuple(arm for arm in stage.arms if not arms or arm in arms)
            if chosen and (not workloads or stage.workload in workloads):
                selected.append(msgspec.structs.replace(stage, arms=chosen, seeds=seeds or stage.seeds))
        return tuple(selected)

    def _only(self, role: Role) -> Stage:
        (stage,) = (stage for stage in self.stages if stage.role == role)
        return stage


@functools.cache
def read_design(path: Path = DESIGN) -> Design:
    """The design in a YAML file.

    Raises:
        UsageError: its ruleset does not exist or is wrong.
        msgspec.ValidationError: a field is missing, unknown or of another type.
    """
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    rules = ruleset(str(path.with_name(content["ruleset"])))
    families, other_arms = content["families"], content.pop("others")
    main = list(dict.fromkeys(arm for arms in families.values() for arm in arms))
    arms = {"main": main, "others": other_arms}
    stages = [{"seeds": rules.studies, **stage, "arms": arms[stage["arms"]]} for stage in content["stages"]]
    claims = [{"paper": entry["paper"], **claim} for entry in content.pop("papers") for claim in entry["claims"]]
    return msgspec.convert({**content, "ruleset": rules, "stages": stages, "claims": claims}, Design)
