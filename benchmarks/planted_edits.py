"""Try fifteen one-line edits of an optimizer in a keep-or-discard loop, and show which ones are kept.

    python benchmarks/planted_edits.py FOLDER

Five of the edits have no effect, two are improvements, and the effect of the others is unknown. The loop uses only the
commands of skills/algorace:

1. It writes a workload with `bench new workload`.
2. It tests every edit with `bench gate`, in one series, and keeps the edits with the verdict `better`. It prints one
   line per edit: its kind, the verdict, the number of pairs of runs, and the processor time.
3. It tests the kept edits again on new seeds (confirmation).

The exit code is 1 if an edit without effect was confirmed, or if an improvement was not confirmed. Options after FOLDER
are passed on to `bench gate`. A repeated script goes on after the last finished gate. It reads the results of earlier
gates from FOLDER/gates, because a series may refuse to test an earlier candidate again.
"""

from __future__ import annotations

import json
import platform
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

Planted: TypeAlias = Literal["no effect", "improvement", "unknown"]

START = '''"""Adam with a constant learning rate."""

import torch

from harness.api import Fixed, Recipe

LR = 1e-3
BETA1 = 0.9
BETA2 = 0.999
EPS = 1e-8
WEIGHT_DECAY = 0.3
SHUFFLES = 1


class Adam(torch.optim.Optimizer):
    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                state["t"] = state.get("t", 0) + 1
                m = state.setdefault("m", torch.zeros_like(p))
                v = state.setdefault("v", torch.zeros_like(p))
                g = p.grad
                m.lerp_(g, 1 - BETA1)
                v.mul_(BETA2).addcmul_(g, g, value=1 - BETA2)
                unbiased_m = m / (1 - BETA1 ** state["t"])
                unbiased_v = v / (1 - BETA2 ** state["t"])
                p.mul_(1 - group["lr"] * WEIGHT_DECAY)
                p.sub_(group["lr"] * unbiased_m / (unbiased_v.sqrt() + EPS))


class Shuffled:
    """Passes through the pool, each in a random order."""

    def __init__(self, task):
        self.size = task.pool_size
        self.seed = int(torch.randint(2**31, (SHUFFLES,), generator=task.rng)[-1])

    def take(self, n, examples):
        order = torch.randperm(self.size, generator=torch.Generator().manual_seed(self.seed + examples // self.size))
        return order[torch.arange(examples, examples + n) % self.size]

    def state_dict(self):
        return {"seed": self.seed}

    def load_state_dict(self, state):
        self.seed = state["seed"]


def optimizer(parameters, lr):
    return Adam([p.tensor for p in parameters], lr)


Mine = Recipe(
    optimizer=optimizer, schedule="constant", order=Shuffled, search_space={"lr": Fixed(LR, limits=(0, 1))}
)
'''


class Edit(NamedTuple):
    """A change of one line.

    Args:
        title: description for the table.
        planted: the effect of the edit, if it is known before the gate; otherwise `unknown`.
        old: text that occurs exactly once in the file.
        new: text that replaces the old text.
    """

    title: str
    planted: Planted
    old: str
    new: str

    def apply(self, text: str) -> str:
        """Return the text with the change.

        Raises:
            ValueError: the old text does not occur exactly once.
        """
        if text.count(self.old) != 1:
            raise ValueError(f"{self.old!r} does not occur once")
        return text.replace(self.old, self.new)


#: The edits, in the order in which they are tried. Of the five edits without effect, two change no number. Two change
#: numbers only slightly. The fifth draws other random orders: runs differ, as with other seeds, but not on average.
EDITS = (
    Edit("another docstring", "no effect", "Adam with a", "Adam, written by hand, with a"),
    Edit("cosine instead of constant", "unknown", 'schedule="constant"', 'schedule="cosine"'),
    Edit("other random orders", "no effect", "SHUFFLES = 1", "SHUFFLES = 2"),
    Edit("less momentum", "unknown", "BETA1 = 0.9", "BETA1 = 0.8"),
    Edit("epsilon of 1e-10", "no effect", "EPS = 1e-8", "EPS = 1e-10"),
    Edit("four times the learning rate", "improvement", "LR = 1e-3", "LR = 4e-3"),
    Edit(
        "momentum as a sum of products",
        "no effect",
        "m.lerp_(g, 1 - BETA1)",
        "m.mul_(BETA1).add_(g, alpha=1 - BETA1)",
    ),
    Edit("short memory of squares", "unknown", "BETA2 = 0.999", "BETA2 = 0.95"),
    Edit("gradients clipped to 0.01", "unknown", "g = p.grad\n", "g = p.grad.clamp(-0.01, 0.01)\n"),
    Edit("another name of a class", "no effect", "    return Adam(", "    Optimizer = Adam; return Optimizer("),
    Edit("no weight decay", "improvement", "WEIGHT_DECAY = 0.3", "WEIGHT_DECAY = 0.0"),
    Edit("half the learning rate", "unknown", "Fixed(LR,", "Fixed(LR / 2,"),
    Edit("no correction of the momentum", "unknown", 'm / (1 - BETA1 ** state["t"])', "m"),
    Edit("Nesterov momentum", "unknown", '["lr"] * unbiased_m', '["lr"] * (0.9 * unbiased_m + 0.1 * g)'),
    Edit("cube root instead of square root", "unknown", "unbiased_v.sqrt()", "unbiased_v.pow(1 / 3)"),
)


def format_ratio(ratio: float | None) -> str:
    """Return a ratio from the JSON of a gate as text. A ratio of 0 or infinity is null in JSON, and a dash here."""
    return "–" if ratio is None else f"{ratio:.2f}×"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The outcome of one edit.

    Args:
        edit: the edit.
        gate: the JSON of its gate.
        seconds: processor seconds of the gate.
    """

    edit: Edit
    gate: Mapping[str, Any]
    seconds: float

    @property
    def keep(self) -> bool:
        return bool(self.gate["series"]["keep"])

    def render(self) -> str:
        ratio = format_ratio(self.gate["estimate"])
        decision = "keep" if self.keep else "discard"
        return (
            f"{self.edit.title:34}{self.edit.planted:13}{self.gate['verdict']:11}{ratio:>7}{self.gate['pairs']:>7}"
            f"{self.seconds:>7.0f}  {decision}"
        )


def run_bench(folder: Path, *arguments: str, codes: Sequence[int] = (0,)) -> str:
    """Run a `bench` command in a folder, and return its output. End the script if the exit code is not in `codes`."""
    command = [sys.executable, "-m", "harness.cli", *arguments]
    completed = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=False)
    if completed.returncode not in codes:
        raise SystemExit(completed.returncode)
    return completed.stdout


def run_gate(folder: Path, *arguments: str) -> Any:
    """Run `bench gate`, whose exit code is a verdict, and return its JSON."""
    return json.loads(run_bench(folder, "gate", *arguments, "--json", codes=(0, 1, 4)))


def processor_seconds() -> float:
    """Processor time of all ended child processes."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def gate_once(folder: Path, number: int, options: Sequence[str]) -> tuple[Any, float]:
    """Gate `candidate.py` against `best.py`, or read the stored result of this gate.

    Return the JSON and the seconds.
    """
    path = folder / "gates" / f"{number:02}.json"
    if not path.exists():
        seconds_before = processor_seconds()
        files = ["./candidate.py", "--against", "./best.py", "-w", "./points.py"]
        gate = run_gate(folder, *files, "--series", "edits", *options)
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"gate": gate, "seconds": processor_seconds() - seconds_before}))
    stored = json.loads(path.read_text())
    return stored["gate"], stored["seconds"]


def try_edits(folder: Path, options: Sequence[str]) -> list[Outcome]:
    """Gate every edit against the best file so far, which contains all kept edits."""
    best, candidate = folder / "best.py", folder / "candidate.py"
    best.write_text(START)
    outcomes = []
    for number, edit in enumerate(EDITS, 1):
        candidate.write_text(edit.apply(best.read_text()))
        gate, seconds = gate_once(folder, number, options)
        outcome = Outcome(edit=edit, gate=gate, seconds=seconds)
        if outcome.keep:
            best.write_text(candidate.read_text())
        outcomes.append(outcome)
        print(outcome.render(), flush=True)
    return outcomes


def confirm(folder: Path, outcomes: Sequence[Outcome], options: Sequence[str]) -> set[str]:
    """Confirm the kept edits on new seeds, and return the titles of the confirmed ones."""
    confirmed = set()
    seconds_before = processor_seconds()
    for gate in run_gate(folder, "--confirm", "edits", *options)["confirmed"]:
        (title,) = (o.edit.title for o in outcomes if o.gate["series"]["candidate"] == gate["candidate"])
        interval = "no interval" if None in gate["interval"] else "{:.2f} – {:.2f}".format(*gate["interval"])
        print(f"confirmation of {title!r}: {gate['verdict']}, {format_ratio(gate['estimate'])} ({interval})")
        if gate["verdict"] == "better":
            confirmed.add(title)
    print(f"the confirmation took {processor_seconds() - seconds_before:.0f} processor seconds")
    return confirmed


def main() -> int:
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        raise SystemExit(__doc__)
    folder, options = Path(sys.argv[1]), sys.argv[2:]
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "points.py").exists():
        run_bench(folder, "new", "workload", "points", "--file")
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}")
    print(f"{'edit':34}{'planted':13}{'verdict':11}{'ratio':>7}{'pairs':>7}{'cpu s':>7}")
    outcomes = try_edits(folder, options)
    confirmed = confirm(folder, outcomes, options) if any(outcome.keep for outcome in outcomes) else set()
    false_edits = [o.edit.title for o in outcomes if o.edit.planted == "no effect" and o.edit.title in confirmed]
    missed_edits = [o.edit.title for o in outcomes if o.edit.planted == "improvement" and o.edit.title not in confirmed]
    seconds = sum(outcome.seconds for outcome in outcomes)
    print(
        f"edits without effect that were confirmed: {len(false_edits)}; "
        f"improvements that were not confirmed: {len(missed_edits)}"
    )
    print(f"the fifteen gates took {seconds:.0f} processor seconds ({seconds / 60:.1f} core-minutes)")
    return 1 if false_edits or missed_edits else 0


if __name__ == "__main__":
    sys.exit(main())
