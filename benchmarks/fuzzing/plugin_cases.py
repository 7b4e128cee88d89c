"""Cases of plugins: a submission or workload in a Python file, or an installed package. Most of them are changed."""

from __future__ import annotations

import random
from dataclasses import replace

from fuzzing import mutations
from fuzzing.case import CaseFile, Expected, FuzzCase
from fuzzing.data_cases import distribution_files
from fuzzing.record_cases import ROOT

_RECIPE = (ROOT / "tests/fixtures/my_optimizer.py").read_text()
CLASS = '''\
"""A submission in one class."""
from harness.api import LogUniform


class Mine:
    """A submission."""

    search_space = {"lr": LogUniform(1e-4, 1e-2, default=1e-3)}
    needs = ()
    version = "1"

    def __init__(self, model, task, hparams):
        self.model = model

    def step(self, work):
        work.draw()

    def eval_weights(self):
        return None

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass
'''
_WORKLOAD = """\
from harness.api import Budget, Target, WorkloadFacts


class Task:
    facts = WorkloadFacts(
        name="task",
        version="1",
        tier="cpu",
        targets=(Target(metric="accuracy", goal="max", value=0.9),),
        budget=Budget(horizon=64_000, gradient_examples=128_000, seconds={"default": 60.0}),
        batch_sizes=(32,),
        eval_every=320,
    )

    def build_model(self, seed):
        return None

    def parameter_kinds(self, model):
        return {}

    def train_data(self, seed):
        return None

    def loss(self, model, batch, per_example=False):
        return None

    def outputs(self, model, batch):
        return None

    def evaluate(self, model, split, stage):
        return {}
"""
_PLUGIN = """\
from harness.api import LogUniform, SubmissionEntry, hookimpl


@hookimpl
def bench_submissions():
    yield SubmissionEntry(
        name="fuzzed",
        summary="x",
        parts=("optimizer:adamw", "schedule:wsd"),
        space={"lr": LogUniform(1e-3, 1e-1, default=1e-2)},
    )
"""
#: Statements that end an import, change the state of the process, use much memory or print much.
_STATEMENTS = (
    *(
        "raise SystemExit(3)",
        "raise KeyboardInterrupt",
        "raise BaseException('x' * 10000)",
        "raise Exception('\\x1b[31m\\n')",
    ),
    *(
        "import os; os._exit(0)",
        "import os; os.kill(os.getpid(), 9)",
        "import os; os.abort()",
        "import sys; sys.exit('x' * 9999)",
    ),
    *(
        "raise type('\\x1b', (Exception,), {})()",
        "raise Exception('\\ud800')",
        "1 / 0",
        "import missing_module",
        "assert False",
    ),
    *("def f(): f()\nf()", "x = [0] * (1 << 34)", "import this_file_is_missing.x", "from harness.api import Missing"),
    *(
        "import sys; sys.modules['harness'] = None",
        "import sys; sys.path.clear()",
        "import sys; sys.stderr = None",
        "del __file__",
    ),
    *(
        "__file__ = None",
        "__name__ = 5",
        "import signal; signal.signal(signal.SIGALRM, signal.SIG_IGN)",
        "globals().clear()",
    ),
    *(
        "import threading, time; threading.Thread(target=time.sleep, args=(99,)).start()",
        "print('x' * 10**6)",
        "exec('x' * 10**5)",
    ),
    *(
        "class E(Exception):\n    def __str__(self): raise ValueError\nraise E",
        "class E(Exception):\n    __str__ = None\nraise E",
    ),
    *(
        "raise ExceptionGroup('x', [ValueError()])",
        "import builtins; builtins.len = None",
        "import os; os.chdir('/')",
        "import gc",
    ),
    *(
        "import warnings; warnings.warn('x')",
        "import sys; sys.stderr.write('\\x1b[31m' * 999)\nraise SystemExit(5)",
    ),
)
#: Last lines of a file that make its import fail.
_ENDINGS = (
    *("raise SystemExit(3)", "raise KeyboardInterrupt", "raise Exception('\\x1b[31m\\n')", "1 / 0", "assert False"),
    *(
        "import missing_module",
        "import os; os._exit(0)",
        "import os; os.kill(os.getpid(), 9)",
        "from harness.api import X",
    ),
    *("def f(): f()\nf()", "raise BaseException('x' * 10000)", "(", "\x00", "while True: pass"),
)
#: Kind of sample -> pairs (text in the sample, texts that may replace it). Every replacement is an invalid declaration.
_INVALID: dict[str, tuple[tuple[str, tuple[str, ...]], ...]] = {
    "class": (
        (
            "LogUniform(1e-4, 1e-2, default=1e-3)",
            ("5", "None", "LogUniform(1e-2, 1e-4)", "LogUniform(-1, 1, default=0)"),
        ),
        ("LogUniform(1e-4, 1e-2, default=1e-3)", ("LogUniform(1e-4, 1e-2, default=float('nan'))", "LogUniform(0, 1)")),
        ("LogUniform(1e-4, 1e-2, default=1e-3)", ("LogUniform(1e-4, float('inf'))", "LogUniform('a', 'b')", "'lr'")),
        ("needs = ()", ("needs = ('missing',)", "needs = 5", "needs = (1,)")),
        ('version = "1"', ("version = ''", "version = 'a@b'", "version = 1")),
        ("step(self, work)", ("step(self)", "step(self, work, more)", "stride(self, work)")),
        ("__init__(self, model, task, hparams)", ("__init__(self)", "__init__(self, model)", "start(self)")),
    ),
    "workload": (
        ("eval_every=320", ("eval_every=0", "eval_every=-320", "eval_every=319", "eval_every='x'", "eval_every=1.5")),
        ("horizon=64_000", ("horizon=0", "horizon=64_001", "horizon=-64_000", "horizon=10**30", "horizon=None")),
        ("gradient_examples=128_000", ("gradient_examples=1", "gradient_examples=-1")),
        ('"default": 60.0', ("'default': 0.0", "'default': -1.0", "'default': float('nan')", "'other': 60.0")),
        ("batch_sizes=(32,)", ("batch_sizes=()", "batch_sizes=(0,)", "batch_sizes=(33,)", "batch_sizes=(-32,)")),
        ('goal="max"', ("goal='most'", "goal=None", "goal=1")),
        ("value=0.9", ("value=float('nan')", "value=float('inf')", "value='x'", "value=None")),
        ('tier="cpu"', ("tier='huge'", "tier=1")),
        ('name="task"', ("name=''", "name='A b'", "name='\\x1b'", "name='a/b'")),
        ("targets=(Target", ("targets=() and (Target",)),
        ("build_model(self, seed)", ("build_model(self)", "build(self, seed)", "build_model(self, seed, size)")),
        ("loss(self, model, batch, per_example=False)", ("loss(self, model, batch)", "loss(self, batch)")),
    ),
    "installed": (
        ("LogUniform(1e-3, 1e-1, default=1e-2)", ("LogUniform(1e-1, 1e-3)", "LogUniform(-1, 1)", "5", "None")),
        (
            "LogUniform(1e-3, 1e-1, default=1e-2)",
            ("LogUniform(1e-3, 1e-1, default=float('nan'))", "LogUniform('a', 'b')"),
        ),
        ('name="fuzzed"', ("name=''", "name='Fuzzed'", "name='a b'", "name=5", "name='\\x1b'")),
        ('"optimizer:adamw"', ("'optimizer'", "'missing:adamw'", "':'", "5")),
        ('summary="x"', ("summary=''", "summary='a\\nb'", "summary=5")),
    ),
}
#: Odd values for attributes of a class.
_VALUES = (
    *(
        "None",
        "5",
        "'x'",
        "''",
        "()",
        "[1]",
        "{}",
        "{1: 2}",
        "{'lr': None}",
        "{'\\x1b': 1}",
        "float('nan')",
        "10**400",
        "object()",
    ),
    *(
        "lambda: 1",
        "property(lambda self: 1 / 0)",
        "b'x'",
        "'x' * 10**5",
        "['x'] * 10**5",
        "('a',) * 3",
        "type",
        "...",
        "'\\ud800'",
    ),
    *(
        "LogUniform(1e-4, 1e-2, default=5)",
        "LogUniform(-1, 1, default=0)",
        "LogUniform('a', 'b')",
        "LogUniform(1e-2, 1e-4)",
    ),
)


#: (kind of sample, source text, flag of `bench run`, name of the object or of the entry in the source)
_SAMPLES = (
    ("recipe", _RECIPE, "-s", "Mine"),
    ("class", CLASS, "-s", "Mine"),
    ("workload", _WORKLOAD, "-w", "Task"),
    ("installed", _PLUGIN, "-s", "fuzzed"),
)


def make_case(number: int, rng: random.Random) -> FuzzCase:
    """Return a case with one plugin: changed or valid, in a Python file or installed."""
    if rng.random() < 0.35:
        return _make_case_with_known_outcome(number, rng)
    return _change_installed(number, rng) if rng.random() < 0.25 else _change_file(number, rng)


def _make_case_with_known_outcome(number: int, rng: random.Random) -> FuzzCase:
    """Return a case with a valid file, or with a file whose one mistake prevents the planning of a trial."""
    kind, source, flag, name = rng.choice(_SAMPLES)
    change = rng.choice(["nothing", "ending", "ending", "declaration", "declaration", "declaration"])
    expected: Expected = "refused"
    if change == "ending":
        ending = rng.choice(_ENDINGS)
        source, change = f"{source}\n{ending}\n", ending
    elif change == "declaration" and kind in _INVALID:
        valid, invalid = rng.choice(_INVALID[kind])
        replacement = rng.choice(invalid)
        source, change = source.replace(valid, replacement, 1), replacement
    else:
        expected = "accepted"
    other_arguments = ("-w", "lm-tiny") if flag == "-s" else ("-s", "wsd")
    is_installed = kind == "installed"
    file = CaseFile(path="mine.py", content=source.encode())
    files = _below_site(distribution_files("fuzzed_plugin", source.encode())) if is_installed else (file,)
    argument = name if is_installed else f"./mine.py:{name}"
    return FuzzCase(
        kind="plugins",
        number=number,
        files=files,
        arguments=("run", "--dry-run", flag, argument, *other_arguments),
        environment={"PYTHONPATH": "site"} if is_installed else {},
        expected=expected,
        change=f"{kind}: {change}"[:120],
    )


def _below_site(files: list[CaseFile]) -> tuple[CaseFile, ...]:
    return tuple(replace(file, path=f"site/{file.path}") for file in files)


def change_source(source: str, rng: random.Random) -> bytes:
    """Return a Python source with a random change, which may break it or declare odd values."""
    lines = source.splitlines()
    line_index = rng.randrange(len(lines) + 1)
    match rng.randrange(7):
        case 0:
            return mutations.change_bytes(source.encode(), rng)
        case 1:
            indent = len(lines[line_index - 1]) - len(lines[line_index - 1].lstrip()) if line_index else 0
            statement = rng.choice(_STATEMENTS).replace("\n", "\n" + " " * indent)
            lines.insert(line_index, " " * indent + statement)
        case 2:
            lines.append(rng.choice(_STATEMENTS))
        case 3:
            lines[min(line_index, len(lines) - 1)] = f"{'(' * rng.choice([10, 200, 5000])}"
        case 4:
            encoding = rng.choice(["latin-1", "utf-16", "missing", "\x1b"])
            return f"# -*- coding: {encoding} -*-\n{source}\n# é".encode(rng.choice(["latin-1", "utf-8", "utf-16"]))
        case _:
            # Give an attribute or a keyword argument another value.
            marked = [i for i, line in enumerate(lines) if "=" in line and not line.lstrip().startswith(("def", "for"))]
            if marked:
                i = rng.choice(marked)
                name, _, rest = lines[i].partition("=")
                lines[i] = f"{name}={rng.choice(_VALUES)}{',' if rest.endswith(',') else ''}"
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def _change_file(number: int, rng: random.Random) -> FuzzCase:
    _, source, flag, name = rng.choice(_SAMPLES[:3])
    path = rng.choice(
        ["mine.py", "mine.py", "x y.py", "\x1b.py", "é.py", "-.py", "a" * 200 + ".py", "torch.py", "class.py"]
    )
    file = CaseFile(path=path, content=change_source(source, rng))
    if rng.random() < 0.05:
        file = mutations.change_type(path, rng)
    argument = f"./{path}" + rng.choice(["", "", f":{name}", ":Missing", ":__doc__", ":x.y"])
    other_arguments = ("-w", "lm-tiny") if flag == "-s" else ("-s", "wsd")
    commands = [
        ("run", "--dry-run", flag, argument, *other_arguments),
        ("show", argument),
        ("show", argument, "--json"),
    ]
    commands += (
        [("tune", argument, "--dry-run", "-w", "lm-tiny"), ("gate", argument, "-w", "lm-tiny")] if flag == "-s" else []
    )
    return FuzzCase(
        kind="plugins", number=number, files=(file,), arguments=rng.choice(commands), change=f"{flag} {path}"
    )


def _change_installed(number: int, rng: random.Random) -> FuzzCase:
    files = distribution_files("fuzzed_plugin", _PLUGIN.encode())
    index = rng.randrange(len(files))
    path, content = files[index].path, files[index].content
    is_module = path.endswith(".py")
    changed = change_source(_PLUGIN, rng) if is_module else mutations.change_bytes(content, rng)
    files[index] = CaseFile(path=path, content=changed)
    if is_module and rng.random() < 0.1:
        files[index] = mutations.change_type(path, rng)
    commands = [("list",), ("plugins",), ("plugins", "--json"), ("show", "fuzzed"), ("list", "--json")]
    commands += [
        ("run", "--dry-run", "-s", "fuzzed,wsd", "-w", "lm-tiny"),
        ("run", "--dry-run", "-s", "wsd", "-w", "lm-tiny"),
    ]
    return FuzzCase(
        kind="plugins",
        number=number,
        files=_below_site(files),
        arguments=rng.choice(commands),
        environment={"PYTHONPATH": "site"},
        change=f"{path} of an installed plugin",
    )
