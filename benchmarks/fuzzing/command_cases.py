"""Cases of command lines with odd values and odd paths. They are generated from the declared commands and options."""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator

import click

from fuzzing import mutations, plugin_cases, record_cases
from fuzzing.case import CaseFile, Expected, FuzzCase
from harness.cli.app import app
from harness.cli.resolve import LimitedInteger
from harness.contract.limits import RANGES

#: Paths in the folder of a case. Some of them do not exist.
_PATHS = (
    *("runs", "results", "pipe", "folder", "loop", "dangling", "missing/deep/file", "text.txt", "huge.json", "zero"),
    *("empty.yaml", "mine.py", "bad.py", "out.html", "sub/out.svg", "a:b", "a,b.py", "\x1b[31m.py", "/dev/null"),
    *("/dev/zero", "/dev/stdin", "/proc/self/mem", "~", "~nobody/x", "a" * 300, "a/" * 2000, "bytes\udcff", "x\x00y"),
    *("new\nline.yaml", "mine.py:Mine", "mine.py:", "mine.py:Missing", "bad.py:X", "./folder.py"),
)
_NAMES = (
    *(
        "wsd",
        "adamw-cosine",
        "lm-tiny",
        "resnet-digits",
        "continual-digits",
        "tier:cpu",
        "torch.optim:Adam",
        "muon+wsd",
    ),
    *(
        "torch.optim:",
        ":Adam",
        "torch.optim:Missing",
        "os:system",
        "adamw+",
        "+",
        "a+b+c",
        "wsd@9",
        "wsd#",
        "wsd,wsd",
        ",",
    ),
    *(
        "schedule:rex",
        "optimizer:",
        "lm-tiny+postnorm",
        "lm-tiny+",
        "mnist",
        "fineweb-gpt2",
        "run-",
        "quick",
        "external",
    ),
)
_ASSIGNMENTS = (
    *(
        "lr=1e-3",
        "lr=",
        "=1",
        "lr",
        "lr=1e-3,",
        "lr=,",
        "lr=nan",
        "lr=inf",
        "lr=-1",
        "lr=1e400",
        "lr=x",
        "lr=1e-3,x",
        "x=1",
    ),
    *(
        'lr="1',
        "lr=[1]",
        "lr=1..2",
        "lr=2..1",
        "lr=nan..1",
        "lr=1e-3..",
        "warmup=100",
        "warmup=1.5",
        "lr==1",
        "l\x1br=1",
    ),
    *(
        "lr=" + "1," * 2000,
        "lr=" + "9" * 5000,
        "a" * 5000 + "=1",
        "batch_size=64",
        "batch_size=-1",
        "lr=true",
        "lr=\x00",
    ),
)
#: Options that no case sets: `--help` ends the command, and `--in-process` would train in this process.
_SKIPPED = frozenset({"help", "in_process"})
#: Command -> arguments that `_make_odd_case` always adds, so that the command only plans. If another command starts a
#: trial, the fuzzer prevents it.
_DRY_RUN_ARGUMENTS = {"run": ("--dry-run",), "tune": ("--dry-run",), "calibrate": ("--dry-run",)}


@functools.cache
def commands() -> tuple[tuple[str, ...], ...]:
    """Return the words of every command and subcommand."""
    return tuple(words for words, _ in _walk(app, ()))


@functools.cache
def _command(words: tuple[str, ...]) -> click.Command:
    return dict(_walk(app, ()))[words]


def _walk(group: click.Group, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from _walk(command, (*words, name))
        elif command is not None:
            yield (*words, name), command


#: Run_id of a record in the files of a case.
RUN_ID = record_cases.run_ids()[0]
#: Environment variables that hold a number from 1 on.
_COUNT_VARIABLES = ("BENCH_STUDIES", "BENCH_THREADS", "BENCH_JOBS")
#: Command -> arguments of a valid call, which succeeds or starts a trial. None for a command that needs files that a
#: case does not have, a network connection, or training.
VALID_CALLS: dict[tuple[str, ...], tuple[str, ...] | None] = {
    ("run",): ("--dry-run", "-s", "wsd", "-w", "lm-tiny"),
    ("runs",): (),
    ("note",): (RUN_ID, "a", "note"),
    ("leaderboard",): (),
    ("best",): None,
    ("compare",): None,
    ("gate",): ("wsd", "-w", "lm-tiny"),
    ("ablate",): ("wsd-ema", "-w", "lm-tiny", "--dry-run"),
    ("tune",): ("wsd", "-w", "lm-tiny", "--dry-run"),
    ("cost",): ("wsd,adamw-cosine", "-w", "lm-tiny"),
    ("power",): (),
    ("diff",): record_cases.run_ids()[:2],
    ("score",): None,
    ("calibrate",): ("resnet-digits", "--dry-run"),
    ("report",): ("out.html",),
    ("verify",): None,
    ("rerun",): None,
    ("publish",): None,
    ("new", "submission"): ("my-method",),
    ("new", "workload"): ("my-task",),
    ("check",): None,
    ("completion",): ("zsh",),
    ("results", "pack"): ("results",),
    ("results", "unpack"): ("results",),
    ("results", "verify"): ("results",),
    ("results", "doubt"): None,
    ("results", "withdraw"): None,
    ("results", "restore"): None,
    ("results", "export"): ("results",),
    ("list",): (),
    ("show",): ("wsd",),
    ("rulesets",): (),
    ("data", "clear-generated"): (),
    ("data", "get"): None,
    ("data", "import"): None,
    ("data", "list"): (),
    ("data", "verify"): None,
    ("hardware",): (),
    ("plugins",): (),
}
#: Assignments of hyperparameters that no submission accepts.
_WRONG_ASSIGNMENTS = (
    *(
        "lr=nan",
        "lr=-1",
        "lr=0",
        "lr=inf",
        "lr=",
        "=1",
        "lr",
        "x=1",
        "lr=x",
        "lr=1e400",
        "lr=true",
        "lr=[1]",
        "lr=1..2",
    ),
    *(
        "lr=1e-3,x",
        "lr=1e-3,nan",
        "lr=1,1",
        "batch_size=0",
        "batch_size=-1",
        "batch_size=1.5",
        "beta1=1",
    ),
    *("beta1=-0.1", "warmup=-1", "shape=missing", "lr=0x10", "lr=1_0", "lr=\u0661", "lr= 1 2", "Lr=1"),
)
#: Commands that take assignments.
_COMMANDS_WITH_ASSIGNMENTS = (("run",), ("cost",), ("show",))
#: Environment variable -> wrong values for `bench run`.
_WRONG_VARIABLES = {
    **dict.fromkeys(_COUNT_VARIABLES, ("0", "-1", "1.5", "010", "x", "1e3", "\u0661", "99999999999999999999")),
    "BENCH_SEED": ("1.5", "x", "010", "9223372036854775808", "nan", "1_0"),
    "BENCH_RULESET": ("missing", "quick ", "./missing.yaml", "empty.yaml", "QUICK"),
    "BENCH_EXECUTOR": ("missing", "local "),
    "BENCH_DEVICE": ("missing", "cuda:x", "cpu:0:0"),
}


def make_case(number: int, rng: random.Random) -> FuzzCase:
    """Return a case whose right outcome is known, or a case with odd options."""
    return _make_case_of_known_outcome(number, rng) if rng.random() < 0.4 else _make_odd_case(number, rng)


def _make_case_of_known_outcome(number: int, rng: random.Random) -> FuzzCase:
    """Return a case with a valid command, which must be accepted, or with a wrong one, which must be refused."""
    words = rng.choice([words for words in commands() if VALID_CALLS.get(words) is not None])
    command, arguments = _command(words), [*words, *(VALID_CALLS[words] or ())]
    environment: dict[str, str] = {}
    expected: Expected = "usage"
    mistakes = ["nothing", "option", "option", "option", "unknown option", "unknown command", "surplus"]
    mistakes += ["set"] * 5 if words in _COMMANDS_WITH_ASSIGNMENTS else []
    mistakes += ["variable"] * 5 if words == ("run",) else []
    mistake = rng.choice(mistakes)
    match mistake:
        case "option" if wrong := _wrong_option(command, rng):
            arguments += wrong
        case "unknown option":
            arguments.append(rng.choice(["--missing", "--jsn", "--=", "-z", "---json", "--json=1", "--\x1b"]))
        case "unknown command":
            arguments[len(words) - 1] += rng.choice(["x", " ", "\u202e", "-", "S", "\x1b[31m"])
        case "surplus" if words != ("data", "list") and all(p.nargs == 1 for p in _arguments(command)):
            arguments += ["text.txt"] * (2 if words in (("run",), ("gate",)) else 1)
        case "set":
            arguments += ["--set", rng.choice(_WRONG_ASSIGNMENTS)]
        case "variable":
            name = rng.choice(list(_WRONG_VARIABLES))
            environment[name] = rng.choice(_WRONG_VARIABLES[name])
        case _:
            expected = "accepted"
    shown_arguments = [*arguments[len(words) :], *(f"{n}={v}" for n, v in environment.items())]
    return FuzzCase(
        kind="commands",
        number=number,
        files=_files(),
        arguments=tuple(arguments),
        environment=environment,
        expected=expected,
        change=f"{mistake}: {' '.join(words)} {shown_arguments}"[:200],
    )


def _arguments(command: click.Command) -> list[click.Argument]:
    return [p for p in command.params if isinstance(p, click.Argument)]


def _wrong_option(command: click.Command, rng: random.Random) -> list[str]:
    """Return an option with a value outside its choices or range; empty if the command has no such option."""
    options = [p for p in command.params if isinstance(p, click.Option) and p.name not in _SKIPPED and not p.is_flag]
    wrong: dict[str, list[str]] = {}
    for option in options:
        flag = option.opts[0]
        if isinstance(option.type, click.Choice):
            wrong[flag] = ["missing", "", *(f"{choice} " for choice in option.type.choices)]
        elif isinstance(option.type, LimitedInteger):
            limits = RANGES[option.type._option]
            numbers = [str(limits.low - 1), str(limits.high + 1), "9" * 400]
            wrong[flag] = [*numbers, "1.5", "", "x", "nan", "inf", "010", "1e3", "1_0", "\u0663", "0x10", "½", "--"]
        elif isinstance(option.type, (click.types.IntParamType, click.types.FloatParamType)):
            wrong[flag] = ["x", "", "nan", "-1", "--"] if flag != "--fail-if-slower-than" else ["x", "", "nan", "0.5"]
    if not wrong:
        return []
    flag = rng.choice(list(wrong))
    return [flag, rng.choice(wrong[flag])]


def _make_odd_case(number: int, rng: random.Random) -> FuzzCase:
    """Return a case of a command with up to five options that have odd values. Its right outcome is not known."""
    words = rng.choice(commands())
    command = _command(words)
    options = [p for p in command.params if isinstance(p, click.Option) and p.name not in _SKIPPED]
    chosen = rng.sample(options, min(len(options), rng.choice([0, 1, 1, 1, 2, 3, 5])))
    arguments: list[str] = []
    command_name = " ".join(words)
    for option in chosen:
        flag = rng.choice(option.opts + option.secondary_opts)
        if option.is_flag:
            arguments.append(flag)
            continue
        value = _option_value(option, rng)
        arguments += [f"{flag}={value}"] if flag.startswith("--") and rng.random() < 0.5 else [flag, value]
    positional = [p for p in command.params if isinstance(p, click.Argument)]
    for argument in positional:
        count = rng.choice([0, 1, 1, 1, 2]) if argument.nargs == 1 else rng.choice([0, 1, 2, 3])
        arguments += [_argument_value(argument, rng) for _ in range(count)]
    if rng.random() < 0.05:
        arguments.insert(rng.randrange(len(arguments) + 1), rng.choice(mutations.TEXTS))
    if words == ("run",) and rng.random() < 0.7:
        arguments += ["-s", rng.choice(["wsd", *_NAMES]), "-w", rng.choice(["lm-tiny", *_NAMES])]
    general_options = (
        ["-p", rng.choice(["no:workloads", "no:", "x", "no:\x1b", "no:missing"])] if rng.random() < 0.05 else []
    )
    return FuzzCase(
        kind="commands",
        number=number,
        files=_files(),
        arguments=(*general_options, *words, *_DRY_RUN_ARGUMENTS.get(words[0], ()), *arguments),
        environment=_environment(rng),
        change=command_name,
    )


def _option_value(option: click.Option, rng: random.Random) -> str:
    if isinstance(option.type, click.Choice) and rng.random() < 0.7:
        return str(rng.choice(list(option.type.choices)))
    if isinstance(option.type, (click.types.IntParamType, click.types.FloatParamType)) and rng.random() < 0.7:
        return str(rng.choice([*mutations.NUMBERS[:11], *mutations.NUMBERS[-7:], 3, 99_999, 100_000, 100_001]))
    if option.metavar and "=" in option.metavar and rng.random() < 0.7:
        return rng.choice(_ASSIGNMENTS)
    return _text(isinstance(option.type, click.Path), rng)


def _argument_value(argument: click.Argument, rng: random.Random) -> str:
    return _text(isinstance(argument.type, click.Path), rng)


def _text(is_path: bool, rng: random.Random) -> str:
    pool = rng.choice([_PATHS, _PATHS, mutations.TEXTS] if is_path else [_NAMES, _NAMES, mutations.TEXTS, _PATHS])
    return rng.choice(pool)


def _environment(rng: random.Random) -> dict[str, str]:
    if rng.random() < 0.85:
        return {}
    name = rng.choice(
        [
            *(
                "BENCH_RULESET",
                "BENCH_STUDIES",
                "BENCH_SEED",
                "BENCH_DEVICE",
                "BENCH_THREADS",
                "BENCH_RUNS",
                "BENCH_JOBS",
            ),
            *("BENCH_EXECUTOR", "BENCH_PLUGINS", "BENCH_PLUGIN_TIMEOUT", "BENCH_DATA", "BENCH_DATA_SOURCE", "COLUMNS"),
        ]
    )
    text = rng.choice([*mutations.TEXTS, *map(str, mutations.NUMBERS), *_PATHS]).replace("\x00", "")
    # Linux refuses an environment variable of more than 128 KiB.
    return {name: text[:10_000]}


@functools.cache
def _files() -> tuple[CaseFile, ...]:
    return (
        *record_cases.valid_files(),
        CaseFile(path="pipe", type="fifo"),
        CaseFile(path="folder/inside.txt", content=b"text\n"),
        CaseFile(path="loop", type="link", target="loop"),
        CaseFile(path="dangling", type="link", target="nothing"),
        CaseFile(path="zero", type="link", target="/dev/zero"),
        CaseFile(path="huge.json", type="sparse", size=1 << 40),
        CaseFile(path="text.txt", content=b"\xff\xfe text \x1b[31m\n"),
        CaseFile(path="empty.yaml"),
        CaseFile(path="a:b", type="folder"),
        CaseFile(path="folder.py", type="folder"),
        CaseFile(path="mine.py", content=plugin_cases.CLASS.encode()),
        CaseFile(path="bad.py", content=b"raise SystemExit('\\x1b[31m' * 1000)\n"),
        CaseFile(path="\x1b[31m.py", content=b"x = 1\n"),
    )
