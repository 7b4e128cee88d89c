"""Count the descriptive function names and the non-descriptive local names of `harness/`.

A function's name is descriptive if it begins with a verb (`load_registry`) or is a noun for the returned value
(`dataset_path(…) -> Path`). The first of these rules that applies accepts the name:

verb        the first word is in VERBS or QUESTIONS, or is a verb with -s (`keeps`) and the function returns a bool
property    the function is decorated as a property
factory     the function is a class method that returns its class (`Selection.of`)
type        the name's head noun is a word of the return type: `submission(…) -> SubmissionEntry`
noun        the name's head noun is in NOUNS, and the return type is allowed for this noun

The head noun is the last word before the first preposition: `dtype` in `default_dtype_of_device`. Without a
preposition, it is the last word. Double-underscore methods and overloads are not counted.

Local names are the parameters and variables of functions. A local name is not descriptive if it is in FILLERS.

usage: python -m tools.count_names [--rest] [folder …]        (exit code 1 if a goal is missed)
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: Minimum fraction of descriptive function names.
NAMES_GOAL = 0.65
#: Maximum fraction of local names that are fillers.
FILLERS_GOAL = 0.01


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


VERBS = _words(
    """
    abort accept accumulate acquire add advance aggregate allocate allow anchor append apply ask assemble assert
    assign attach average begin bind block broadcast build calibrate call cancel cap cat charge check checkpoint
    choose clean clear clip close collect combine compare compile complain complete compose compute confirm connect
    convert copy count create cut decide decode delete deliver derive describe detach detect die diff discard discover
    divide download draw drop emit encode end enforce escape estimate evaluate exclude execute exit expand expect
    explain export extract fail fetch fill filter find finish fit fix flatten flush follow forget format forward
    freeze gather generate get give group guard halve handle hash hide hold identify ignore import include infer
    initialise initialize insert inspect install interleave interpolate interrupt invoke isolate iter iterate join
    judge keep kill launch let limit link list load locate lock look loosen make mark match measure merge migrate mix
    move name need normalise normalize note notify observe open order pack pair parse pass pause peek pick plan poll
    pop predict prepare print probe profile project promote prune publish pull push put quarantine raise rank read
    recall receive recognise recompute record redirect reduce refuse register reject release relocate remember remove
    rename render repeat replace replay report request require reset resize resolve restart restore resume retry
    return reuse rewrite round run sample save scale scan schedule score search seed select send serve set shard share
    show shrink shuffle shut simulate skip sort spell split stack start stamp stop store strip submit subtract sum
    summarise summarize supervise swap sync synchronise synchronize take tell terminate test time track train
    transform trim try tune unflatten unlock unpack update use validate verify visit wait walk want warm warn watch
    weigh wrap write yield
    """
)
#: First words of functions that answer a question with a bool.
QUESTIONS = _words("can has is may must should was")

#: Types -> nouns that describe values of these types. The plural of a noun describes a container of these values.
NOUNS = {
    frozenset({"Path"}): "file folder path",
    frozenset({"str"}): """
        cell character command digest folder fix hash header hint id key label line message name note part path phrase
        prefix problem reason slug state suffix summary text title unit version warning word
    """,
    frozenset({"float", "Tensor", "NDArray", "Floats"}): """
        coverage difference error factor interval loss mean median quantile rate ratio resolution score second share
        slope speedup spread time tolerance total value variance weight width
    """,
    frozenset({"int", "float"}): """
        budget byte cost count example gap hit horizon index limit memory number position quota rank size step token
    """,
    frozenset({"dict", "Mapping"}): "environment json metric option parameter payload setting table",
    frozenset({"bytes"}): "content json payload",
    frozenset({"list", "tuple"}): "bound cell column curve group row",
    frozenset({"range"}): "row",
}
CONTAINERS = _words("list tuple dict set frozenset Mapping Sequence Iterable Iterator Generator NDArray Floats Tensor")
PREPOSITIONS = _words("after as at before below between by for from in of on over per than to under with")
#: Words in return annotations that do not describe the value.
EMPTY = _words("any bool callable generic int iterable iterator mapping none object sequence str type")
PROPERTIES = frozenset({"property", "cached_property", "setter"})
FILLERS = _words(
    """
    asked everything found given got gone how it kept left made mine more nothing one other others ours own
    rest said same shown some something stuff such taken tell that theirs them there these they thing things this
    those told tried two wanted what when where whether which whoever whole whose why
    """
)


@dataclass(frozen=True, kw_only=True)
class Name:
    """A function's name.

    Args:
        name: the name.
        place: file and line of the function.
        rule: the rule that accepts the name; empty if the name is not descriptive.
    """

    name: str
    place: str
    rule: str


@dataclass(frozen=True, kw_only=True)
class Local:
    """A local name.

    Args:
        name: the name.
        place: file and line at which it is bound.
    """

    name: str
    place: str

    @property
    def is_filler(self) -> bool:
        return self.name in FILLERS


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, default=[ROOT / "harness"], metavar="folder")
    parser.add_argument("--rest", action="store_true", help="print the names that are not descriptive")
    options = parser.parse_args(arguments)
    names, local_names = [], []
    for path in sorted(path for folder in options.folders for path in _python_files(folder)):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names += list(function_names(tree, str(path)))
        local_names += list(local_bindings(tree, str(path)))
    return report(names, local_names, options.rest)


def report(names: list[Name], local_names: list[Local], rest: bool) -> int:
    """Print the fractions of descriptive function names and of fillers, and return the exit code.

    With `rest`, also print the names that are not descriptive.
    """
    rejected = [name for name in names if not name.rule]
    fillers = [local for local in local_names if local.is_filler]
    if rest:
        for name in rejected:
            print(f"{name.place}: {name.name}")
        for local in fillers:
            print(f"{local.place}: filler {local.name}")
    descriptive, filler = 1 - len(rejected) / max(1, len(names)), len(fillers) / max(1, len(local_names))
    verbs = sum(name.rule == "verb" for name in names) / max(1, len(names))
    print(
        f"{descriptive:.1%} of {len(names)} function names are descriptive (at least {NAMES_GOAL:.0%}), "
        f"{verbs:.1%} begin with a verb"
    )
    print(f"{filler:.2%} of {len(local_names)} local names are fillers (at most {FILLERS_GOAL:.0%})")
    if descriptive >= NAMES_GOAL and filler <= FILLERS_GOAL:
        return 0
    if not rest:
        print("run python -m tools.count_names --rest to list the names", file=sys.stderr)
    return 1


# --- functions ------------------------------------------------------------------------------------------------------


def function_names(tree: ast.Module, file: str) -> Iterator[Name]:
    """Yield the name of every function of a module, with the rule that accepts the name."""
    for node, owner in _functions(tree, ""):
        decorators = {_last_identifier(decorator) for decorator in node.decorator_list}
        if "overload" in decorators or re.fullmatch(r"__\w+__", node.name):
            continue
        returns = _unquoted(node.returns)
        rule = rule_for(node.name, returns, decorators, owner)
        yield Name(name=node.name, place=f"{file}:{node.lineno}", rule=rule)


def rule_for(name: str, returns: str, decorators: Iterable[str] = (), owner: str = "") -> str:
    """Return the rule that accepts a function's name, or an empty string.

    Args:
        name: the function's name.
        returns: the function's return annotation.
        decorators: names of the function's decorators.
        owner: name of the function's class; empty outside a class.

    >>> rule_for("load_registry", "Registry"), rule_for("keeps", "bool"), rule_for("content_hash", "str")
    ('verb', 'verb', 'noun')
    >>> rule_for("submission", "SubmissionEntry"), rule_for("of", "Self", ["classmethod"], "Selection")
    ('type', 'factory')
    >>> rule_for("found", "str"), rule_for("path", "bool")
    ('', '')
    """
    words = name.strip("_").lower().split("_")
    if is_verb(words[0], returns):
        return "verb"
    if PROPERTIES & set(decorators):
        return "property"
    identifiers = re.findall(r"[A-Za-z_]\w*", returns)
    if "classmethod" in decorators and {owner, "Self"} & set(identifiers):
        return "factory"
    noun = _head_noun(words)
    type_words = {word for identifier in identifiers for word in _camel_words(identifier)} - EMPTY
    if singular(noun) in {singular(word) for word in type_words}:
        return "type"
    return "noun" if is_noun_of(noun, set(identifiers)) else ""


def is_verb(word: str, returns: str) -> bool:
    """Return whether a name's first word counts as a verb: `load`, `is`, or, if a bool is returned, `keeps`."""
    if word in VERBS or word in QUESTIONS:
        return True
    return returns == "bool" and word.removesuffix("s") in VERBS


def is_noun_of(noun: str, identifiers: set[str]) -> bool:
    """Return whether a noun describes values of a type. `identifiers` are the names in the type's annotation."""
    for types, text in NOUNS.items():
        nouns = text.split()
        if noun in nouns and types & identifiers:
            return True
        if noun != singular(noun) and singular(noun) in nouns and (types | CONTAINERS) & identifiers:
            return True
    return False


def _head_noun(words: list[str]) -> str:
    """Return the last word before the first preposition: `name` for `name_of_driver`."""
    for position, word in enumerate(words):
        if word in PREPOSITIONS and position:
            return words[position - 1]
    return words[-1]


def singular(word: str) -> str:
    """Return a noun without its plural ending.

    >>> singular("entries"), singular("paths"), singular("class"), singular("bus")
    ('entry', 'path', 'class', 'bus')
    """
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "ches", "shes")):
        return word[:-2]
    return word if word.endswith(("ss", "us")) else word.removesuffix("s")


def _functions(tree: ast.AST, owner: str) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, str]]:
    """Yield every function below a node, with the name of its class; the name is empty outside a class."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node, owner
            yield from _functions(node, "")
        else:
            yield from _functions(node, node.name if isinstance(node, ast.ClassDef) else owner)


def _last_identifier(node: ast.expr) -> str:
    """Return `property` for `@property`, `setter` for `@x.setter`, and `fixture` for `@pytest.fixture(…)`."""
    if isinstance(node, ast.Call):
        node = node.func
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _unquoted(annotation: ast.expr | None) -> str:
    return "" if annotation is None else ast.unparse(annotation).replace("'", "").replace('"', "")


def _camel_words(identifier: str) -> list[str]:
    """Split `SubmissionEntry` or `submission_entry` into the words `submission` and `entry`."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+", identifier)]


# --- local names ----------------------------------------------------------------------------------------------------


def local_bindings(tree: ast.Module, file: str) -> Iterator[Local]:
    """Yield the names that functions bind, once per function: parameters, variables, loop targets."""
    for function, _ in _functions(tree, ""):
        names: dict[str, int] = {}
        for node in _own_nodes(function):
            if isinstance(node, ast.arg) and node.arg not in ("self", "cls"):
                names.setdefault(node.arg, node.lineno)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.setdefault(node.id, node.lineno)
        for name, line in names.items():
            yield Local(name=name, place=f"{file}:{line}")


def _own_nodes(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.AST]:
    """Yield the nodes of a function, except those inside nested functions and classes."""
    waiting: list[ast.AST] = list(ast.iter_child_nodes(function))
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            waiting += ast.iter_child_nodes(node)


def _python_files(folder: Path) -> list[Path]:
    return [folder] if folder.is_file() else list(folder.rglob("*.py"))


if __name__ == "__main__":
    sys.exit(main())
