"""Keep or discard: try edits of an optimizer one after another, and let `bench gate` decide which edits to keep.

    python examples/keep_or_discard.py FOLDER -w resnet-digits

The options after FOLDER are passed on to `bench gate`. FOLDER/best.py is the best version so far, and
FOLDER/candidate.py is the version that is being tested. FOLDER/outcomes.json has the verdicts so far. If the command is
repeated, it resumes: finished runs are not repeated, and no candidate is tested a second time.
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

#: The edits: (description, old text, new text). In your own loop, a person or a model would write them.
EDITS = (
    ("say more in the docstring", "Sign descent with momentum.", "Sign descent with momentum, in one file."),
    ("a hundred times the learning rate", "Fixed(1e-5", "Fixed(1e-3"),
)


def bench_gate(folder: Path, *arguments: str) -> dict[str, Any]:
    """Run `bench gate` and return its JSON. End the script if the exit code means an error instead of a verdict."""
    command = [sys.executable, "-m", "harness.cli", "gate", *arguments, "--json"]
    completed = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=False)
    if completed.returncode not in (0, 1, 4):
        raise SystemExit(completed.returncode)
    result: dict[str, Any] = json.loads(completed.stdout)
    return result


def try_edits(folder: Path, options: list[str]) -> list[tuple[str, str, bool]]:
    """Test every edit, and return (description, verdict, kept) for each."""
    best, candidate = folder / "best.py", folder / "candidate.py"
    stored = folder / "outcomes.json"
    # When a series goes on to the next candidate, it discards an undecided one and gives no further verdict on it. This
    # script therefore stores the verdicts.
    verdicts = json.loads(stored.read_text()) if stored.exists() else {}
    # Every call of the script begins with the first edit.
    best.write_text(START)
    outcomes = []
    for description, old, new in EDITS:
        candidate.write_text(best.read_text().replace(old, new))
        if description not in verdicts:
            verdicts[description] = bench_gate(
                folder, "./candidate.py", "--against", "./best.py", "--series", "edits", *options
            )
            stored.write_text(json.dumps(verdicts))
        result = verdicts[description]
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
        # The estimates of kept candidates are too good, because these estimates decided which candidates were kept. The
        # estimates from new seeds are unbiased.
        for entry in bench_gate(folder, "--confirm", "edits", *_without_workloads(options))["confirmed"]:
            print(f"confirmed: candidate {entry['candidate']}: {entry['verdict']}, {entry['estimate']:.2f}×")


def _without_workloads(options: list[str]) -> list[str]:
    """Return the options without workloads and budget, which `--confirm` takes from the series."""
    remaining, words = [], iter(options)
    for word in words:
        if word in ("-w", "--workload", "--budget"):
            next(words, None)
        else:
            remaining.append(word)
    return remaining


if __name__ == "__main__":
    main()
