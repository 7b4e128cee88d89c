"""Decide from the outcome of a case whether the case failed."""

from __future__ import annotations

import json
import re
import signal

from fuzzing.case import FuzzCase
from fuzzing.process import EXIT_ESCAPED, TRIAL_REFUSED, CaseOutcome, Limits

#: Maximum number of characters of a message.
MAX_MESSAGE = 1500
#: Control characters except tab and line feed.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
#: Exit codes of `bench`; see `harness.cli.invoke`.
_EXIT_CODES = frozenset({0, 1, 2, 3, 4, 130})


def find_failure(
    case: FuzzCase, outcome: CaseOutcome, limits: Limits, reference: CaseOutcome | None = None
) -> str | None:
    """Return the problem that a case shows, in one line; None if the outcome is right.

    Args:
        case: the case.
        outcome: the outcome of the case.
        limits: limits of the case.
        reference: the outcome of the case without the file `case.ignored`; None if that is empty.
    """
    code = outcome.exit_code
    if code in (-signal.SIGALRM, -signal.SIGXCPU, -signal.SIGKILL):
        return f"hang: ended by {signal.Signals(-code).name} after {outcome.cpu_seconds:.1f} CPU s"
    if code < 0:
        return f"death: ended by {signal.Signals(-code).name}"
    if code == EXIT_ESCAPED or "Traceback (most recent call last)" in outcome.stderr:
        return f"traceback: {_last_line(outcome.stderr)}"
    if "internal error" in outcome.stderr:
        return f"internal error: {outcome.stderr.partition('internal error: ')[2].strip()}"
    if outcome.added_bytes > limits.memory_bytes:
        return f"memory: {outcome.added_bytes >> 20} MiB"
    if code not in _EXIT_CODES:
        return f"exit code: {code}"
    return _find_bad_output(case, outcome) or _find_wrong_answer(case, outcome, reference)


def _find_bad_output(case: FuzzCase, outcome: CaseOutcome) -> str | None:
    # An error message is the last part of stderr and may have several lines. Each line before it is one message.
    start = outcome.stderr.rfind("\nbench: ") + 1
    is_error = outcome.stderr.startswith("bench: ", start)
    earlier_messages, message = (outcome.stderr[:start], outcome.stderr[start:]) if is_error else (outcome.stderr, "")
    longest = max([*earlier_messages.split("\n"), message], key=len)
    if len(longest) > MAX_MESSAGE + 1:
        return f"long message: {len(longest)} characters: {longest[:120]}"
    streams = {"stderr": outcome.stderr} if _is_data(case) else {"stderr": outcome.stderr, "stdout": outcome.stdout}
    for name, text in streams.items():
        if match := _CONTROLS.search(text):
            line = text[: match.end()].rpartition("\n")[2]
            return f"control character: {match[0]!a} on {name}: {line[-80:]!a}"
    if outcome.exit_code and not outcome.stderr.strip() and not outcome.stdout.strip():
        return f"silence: exit code {outcome.exit_code} without a message"
    asks_help = {"--help", "-h", "--version", "--show-config"} & set(case.arguments)
    if (
        "--json" in case.arguments
        and not asks_help
        and not outcome.exit_code
        and outcome.stdout
        and not _is_json(outcome.stdout)
    ):
        return "output: --json printed text that is not JSON"
    return None


def _find_wrong_answer(case: FuzzCase, outcome: CaseOutcome, reference: CaseOutcome | None) -> str | None:
    starts_trial = TRIAL_REFUSED in outcome.stderr
    accepted = outcome.exit_code == 0 or starts_trial
    match case.expected:
        case "accepted" if not accepted:
            return f"refused: {case.change}: {outcome.stderr.strip()[:300]}"
        case "refused" if accepted:
            return f"accepted: {case.change}"
        case "usage" if accepted:
            return f"accepted: {case.change} (exit code {outcome.exit_code})"
        case "usage" if outcome.exit_code != 2:
            return f"wrong exit code: {outcome.exit_code} instead of 2: {case.change}"
        case "trial" if not starts_trial:
            return f"wrong answer: no trial started: {case.change} (exit code {outcome.exit_code})"
    if case.absent and case.absent in outcome.stdout:
        return f"wrong answer: {case.absent} is shown although its record was changed: {case.change}"
    if case.present and outcome.exit_code == 0 and case.present not in outcome.stdout + outcome.stderr:
        return f"wrong answer: {case.present} is not named: {case.change}"
    if reference is None:
        return None
    if outcome.exit_code != reference.exit_code:
        return f"wrong answer: {case.ignored} changes the exit code: {case.change}"
    for name in ("stdout", "report"):
        if _remove_problems(getattr(outcome, name)) != _remove_problems(getattr(reference, name)):
            return f"wrong answer: {case.ignored} changes the {name}: {case.change}"
    return None


#: Pattern of the list of unreadable records, as JSON or as Markdown.
_PROBLEMS = re.compile(r'"problems":\s*\[(?:\s*"(?:[^"\\]|\\.)*",?)*\s*\]|\n\n?- left out: [^\n]*')


def _remove_problems(text: str) -> str:
    return _PROBLEMS.sub("", text)


def _is_data(case: FuzzCase) -> bool:
    """Return whether stdout is data for a program. Such data may contain control characters."""
    return bool({"--json", "json", "csv", "html", "md", "--format=json"} & set(case.arguments))


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def signature(kind: str, problem: str) -> str:
    """Return a problem without numbers, paths and names. Failures with the same cause then have equal signatures."""
    text = re.sub(r"""(['"]).*?\1|0x[0-9a-f]+|[0-9]+|/\S+|run-\S+""", "_", problem)
    return f"{kind}: {text[:90]}"
