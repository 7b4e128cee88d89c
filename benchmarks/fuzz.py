"""Give damaged or odd input to every command, and check that each command ends with an answer or one message.

Kinds of input:

- stored records and shards (files with many records)
- configuration in YAML and JSON
- command lines of every command
- data files
- Python files of submissions, workloads and plugins
- logs of AlgoPerf and of other tools

A case consists of an input and a command that reads the input. The input is a valid sample, mostly with one change.
Each command runs in a process of its own with limits on time and memory. A case fails if

- the command ends with a traceback, an internal error or a signal, hangs, or needs more than 1 GiB;
- a message is longer than 1,500 characters or contains control characters;
- the command fails without a message;
- the command accepts a change that it can detect: a wrong hash or checksum, a key that is given twice, a row that does
  not fit its header, or a number outside its range;
- the command refuses a valid input that was not changed.

A failing case is made smaller and written to the folder `--out` as a JSON file. `--replay` runs such a file again. A
case follows from `--seed`, its kind and its index.

    python benchmarks/fuzz.py --seconds 600 --seed 1
    python benchmarks/fuzz.py --cases 10000 --seed 1 --kind records --kind yaml
    python benchmarks/fuzz.py --replay fuzz-failures/records-12.json
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# The fuzzer tests the code of its own checkout, in this process and in the processes that read plugins.
for folder in (str(ROOT / "benchmarks"), str(ROOT)):
    if folder not in sys.path:
        sys.path.insert(0, folder)
os.environ["OMP_NUM_THREADS"] = "1"
# The default allocator of Arrow reserves a gigabyte, which would count as memory.
os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"
sys.dont_write_bytecode = True

from fuzzing import command_cases, data_cases, log_cases, plugin_cases, record_cases, yaml_cases  # noqa: E402
from fuzzing.case import FuzzCase, load_case, save_case, without_ignored  # noqa: E402
from fuzzing.judging import find_failure, signature  # noqa: E402
from fuzzing.minimising import minimise  # noqa: E402
from fuzzing.process import CaseOutcome, CaseRunner, Limits, warm_up  # noqa: E402

#: Kind of input -> function that makes a case from its index and a random generator.
KINDS: dict[str, Callable[[int, random.Random], FuzzCase]] = {
    "records": record_cases.make_case,
    "yaml": yaml_cases.make_case,
    "commands": command_cases.make_case,
    "data": data_cases.make_case,
    "plugins": plugin_cases.make_case,
    "algoperf": log_cases.make_algoperf_case,
    "imports": log_cases.make_import_case,
}
#: Kinds whose cases import torch.
_NEEDS_TORCH = frozenset({"plugins"})
#: Maximum number of failures with the same signature that are written to files.
_MAX_WRITTEN = 2
_REPORT_SECONDS = 15.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, help="stop after this time (default: 60, or none with --cases)")
    parser.add_argument("--cases", type=int, help="stop after this number of cases")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", action="append", choices=sorted(KINDS), help="only this kind; may be repeated")
    parser.add_argument("--out", type=Path, default=Path("fuzz-failures"), help="folder for the failing cases")
    parser.add_argument(
        "--wall", type=float, default=10.0, help="wall seconds after which a case counts as hanging (default: 10)"
    )
    parser.add_argument(
        "--replay",
        type=Path,
        nargs="+",
        metavar="PATH",
        help="run these stored cases again; PATH is a file or a folder",
    )
    options = parser.parse_args()
    if options.seconds is None and options.cases is None:
        options.seconds = 60.0
    # The files of cases are in memory, because commands wait until their files are on the disk.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=memory) as name:
        # Some cases plan trials in this process, so the cache of this process is also in the temporary folder.
        os.environ["BENCH_CACHE"] = str(Path(name) / "cache")
        site = Path(name) / "site"
        site.mkdir()
        data_cases.install_plugin(site)
        sys.path.insert(0, str(site))
        warm_up()
        fuzzer = Fuzzer(CaseRunner(Path(name), Limits(wall_seconds=options.wall)), options.out)
        if options.replay:
            warm_up("torch", "harness.api")
            return fuzzer.replay(options.replay)
        return fuzzer.fuzz(options.kind or list(KINDS), options.seed, options.cases, options.seconds)


class Fuzzer:
    """Makes, runs and judges cases, and writes the failing ones.

    Args:
        runner: runs cases.
        out: folder for the failing cases.
    """

    def __init__(self, runner: CaseRunner, out: Path) -> None:
        self._runner = runner
        self._limits = runner.limits
        self._patient = CaseRunner(runner.folder, replace(runner.limits, wall_seconds=8 * runner.limits.wall_seconds))
        self._out = out
        #: Outcomes of cases without the damaged file that `bench` must ignore.
        self._references: dict[str, CaseOutcome] = {}
        self.counts: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.signatures: Counter[str] = Counter()

    def fuzz(self, kinds: list[str], seed: int, cases: int | None, seconds: float | None) -> int:
        """Run cases of these kinds, print the results by kind, and return the exit code.

        Args:
            kinds: names of kinds. Cases of these kinds alternate. Kinds that need torch come last.
            seed: seed of all cases.
            cases: number of cases; None for no limit.
            seconds: wall seconds; None for no limit.
        """
        start = time.monotonic()
        without_torch = [kind for kind in kinds if kind not in _NEEDS_TORCH]
        self._take_turns(
            without_torch,
            seed,
            cases and cases * len(without_torch) // len(kinds),
            start,
            seconds,
            len(without_torch) / len(kinds),
        )
        if len(without_torch) < len(kinds):
            # A process with torch is much slower to fork.
            warm_up("torch", "harness.api")
            with_torch = [kind for kind in kinds if kind in _NEEDS_TORCH]
            self._take_turns(with_torch, seed, cases and cases - self.counts.total(), start, seconds, 1.0)
        self._print_table(time.monotonic() - start)
        return 1 if self.failures else 0

    def _take_turns(
        self, kinds: list[str], seed: int, cases: int | None, start: float, seconds: float | None, share: float
    ) -> None:
        """Run cases of these kinds in turn, until `cases` cases have run or `share` of the seconds is over."""
        reported = time.monotonic()
        number = 0
        while kinds and (cases is None or number < cases):
            if seconds is not None and time.monotonic() - start >= seconds * share:
                break
            kind = kinds[number % len(kinds)]
            index = number // len(kinds)
            self._run(KINDS[kind](index, random.Random(f"{seed}/{kind}/{index}")))
            number += 1
            if time.monotonic() - reported > _REPORT_SECONDS:
                reported = time.monotonic()
                print(f"{reported - start:6.0f} s  {self._summarise()}", file=sys.stderr, flush=True)

    def _run(self, case: FuzzCase) -> None:
        outcome = self._run_patiently(case)
        self.counts[case.kind] += 1
        self.refused[case.kind] += outcome.exit_code != 0
        problem = find_failure(case, outcome, self._limits, self._reference(case))
        if problem is None:
            return
        name = signature(case.kind, problem)
        self.failures[case.kind] += 1
        self.signatures[name] += 1
        if self.signatures[name] > _MAX_WRITTEN:
            return
        # Two types of failures are not made smaller. A hang would take the whole limit at every attempt. If an input is
        # accepted or refused by mistake, the same answer may be right for a smaller input.
        smaller = (
            case
            if problem.startswith(("hang", "accepted", "refused", "wrong"))
            else minimise(case, lambda c: self._signature(c) == name)
        )
        path = self._out / f"{case.kind}-{case.number}.json"
        save_case(smaller, path, problem)
        print(f"{path}: {ascii(problem)[1:-1][:300]}", file=sys.stderr, flush=True)

    def _run_patiently(self, case: FuzzCase) -> CaseOutcome:
        outcome = self._runner.run(case)
        # Other processes may have slowed the case down. The second attempt has eight times the wall time.
        return self._patient.run(case) if outcome.exit_code == -signal.SIGALRM else outcome

    def _reference(self, case: FuzzCase) -> CaseOutcome | None:
        """Return the outcome of a case without the damaged file that `bench` must ignore; None without such a file."""
        if not case.ignored:
            return None
        reference = replace(without_ignored(case), number=0, change="")
        key = str((reference.files, reference.arguments, reference.function, reference.keywords))
        if key not in self._references:
            self._references[key] = self._run_patiently(reference)
        return self._references[key]

    def _signature(self, case: FuzzCase) -> str:
        # No reference is needed: failures that only a reference shows are not made smaller.
        problem = find_failure(case, self._runner.run(case), self._limits)
        return "" if problem is None else signature(case.kind, problem)

    def _summarise(self) -> str:
        return ", ".join(f"{kind} {count}" for kind, count in self.counts.items()) + f"; {self.failures.total()} failed"

    def _print_table(self, seconds: float) -> None:
        print(f"{'kind':10} {'cases':>7} {'refused':>8} {'failed':>7}")
        for kind, count in self.counts.items():
            print(f"{kind:10} {count:7,} {self.refused[kind]:8,} {self.failures[kind]:7,}")
        total = self.counts.total()
        print(f"{'all':10} {total:7,} {self.refused.total():8,} {self.failures.total():7,}  in {seconds:.0f} s")
        for name, count in self.signatures.most_common():
            print(f"{count:5} {ascii(name)[1:-1]}")

    def replay(self, paths: list[Path]) -> int:
        """Run stored cases again, print their outcomes, and return the exit code."""
        os.environ["BENCH_DEBUG"] = "1"
        failed = 0
        for path in (file for given in paths for file in (sorted(given.glob("*.json")) if given.is_dir() else [given])):
            case = load_case(path)
            outcome = self._run_patiently(case)
            problem = find_failure(case, outcome, self._limits, self._reference(case))
            failed += problem is not None
            command = (
                f"harness.{case.function}({case.keywords})" if case.function else f"bench {' '.join(case.arguments)}"
            )
            print(f"{path}: {command[:400]!a}\n  exit code {outcome.exit_code}, {problem or 'right'!a}")
            print("".join(f"  | {line[:400]!a}\n" for line in outcome.stderr.splitlines()[-30:]))
        return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
