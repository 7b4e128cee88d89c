"""Keep or discard: try edits of an optimizer one after another, and let `bench gate` decide which of them stay.

    python examples/keep_or_discard.py FOLDER -w resnet-digits

What follows FOLDER is passed on to `bench gate`. The best version so far is FOLDER/best.py, the one being tried
FOLDER/candidate.py. Given again, the loop goes on where it was: no run is repeated, and no candidate has a second turn.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

START = '''"""Sign descent with momentum."""

import torch

from harness.api import Fixed, Recipe


class SignDescent(torch.optim.Optimizer):
    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                m.lerp_(p.grad, 0.1)
                p.add_(m.sign(), alpha=-group["lr"])


def optimizer(parameters, lr):
    return SignDescent([p.tensor for p in parameters], lr)


Mine = Recipe(optimizer=optimizer, schedule="constant", search_space={"lr": Fixed(1e-5, limits=(0, 1))})
'''

#: What is tried: (what it is, old text, new text). Here a list; in your loop a person or a model writes them.
EDITS = (
    ("say more in the docstring", "Sign descent with momentum.", "Sign descent with momentum, in one file."),
    ("a hundred times the learning rate", "Fixed(1e-5", "Fixed(1e-3"),
)


def bench_gate(folder: Path, *arguments: str) -> dict[str, Any]:
    """The JSON of a `bench gate`; its exit code says no more than its verdict does, unless nothing could run."""
    command = [sys.executable, "-m", "harness.cli", "gate", *arguments, "--json"]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode not in (0, 1, 4):
        raise SystemExit(done.returncode)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def try_edits(folder: Path, options: list[str]) -> list[tuple[str, str, bool]]:
    """What became of every edit: (what it is, verdict, kept)."""
    best, candidate = folder / "best.py", folder / "candidate.py"
    # Always from the start: the gates of an earlier call are answered from its runs.
    best.write_text(START)
    outcomes = []
    for description, old, new in EDITS:
        candidate.write_text(best.read_text().replace(old, new))
        result = bench_gate(folder, "./candidate.py", "--against", "./best.py", "--series", "edits", *options)
        keep = result["series"]["keep"]
        if keep:
            best.write_text(candidate.read_text())
        outcomes.append((description, result["verdict"], keep))
        print(f"{'keep' if keep else 'discard'}: {description} ({result['verdict']})", flush=True)
    return outcomes


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        raise SystemExit(__doc__)
    folder, options = Path(sys.argv[1]), sys.argv[2:]
    folder.mkdir(parents=True, exist_ok=True)
    outcomes = try_edits(folder, options)
    if any(keep for _, _, keep in outcomes):
        # What was kept was kept for looking good: only the retest says how good it is.
        for entry in bench_gate(folder, "--confirm", "edits", *_without_workloads(options))["confirmed"]:
            print(f"confirmed: candidate {entry['candidate']}: {entry['verdict']}, {entry['estimate']:.2f}×")


def _without_workloads(options: list[str]) -> list[str]:
    """The options that `--confirm` takes: it knows workloads and budget from the series."""
    kept, words = [], iter(options)
    for word in words:
        if word in ("-w", "--workload", "--budget"):
            next(words, None)
        else:
            kept.append(word)
    return kept


if __name__ == "__main__":
    main()
