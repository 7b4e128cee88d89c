"""Renders the statement at the top of a leaderboard, who leads and who is tied, as sentences and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.scoring.factors import TimeFactors
from harness.scoring.headline import TIME_AND_EXAMPLES, Headline
from harness.scoring.leaderboard import Leaderboard

#: Largest number of names that a sentence lists.
_MAX_NAMES = 4
#: Largest number of names in a sentence that states the amount of each.
_MAX_NAMES_WITH_AMOUNTS = 12


def headline_sentences(board: Leaderboard) -> tuple[str, ...]:
    """Return the sentences at the top of a leaderboard; empty if the leaderboard has no row.

    For example `muon-wsd@1 leads: 0.71× the examples, 0.93× the time of adamw-cosine@1. Ranks 2 to 4 tied: wsd@1, …`.
    """
    headline = board.headline
    if headline is None:
        return ()
    if headline.all_missed:
        return ("Nobody leads: no submission reached a target.",)
    if len(board.rows) == 1:
        sentences = [
            f"{headline.leaders[0]} is the only submission, so nothing is compared",
            _hits_sentence(headline, board),
        ]
    elif not headline.is_tested:
        sentences = [_mean_rank_sentence(headline, board), "No test decides between them"]
    elif len(headline.leaders) == 1:
        sentences = [_lead_sentence(headline, board), _hits_sentence(headline, board), _followers_sentence(headline)]
    else:
        sentences = [
            _shared_lead_sentence(headline),
            _ratio_sentence(headline, board),
            _hits_sentence(headline, board),
            _followers_sentence(headline),
        ]
    return tuple(f"{sentence}." for sentence in sentences if sentence)


def ranking_sentences(headline: Headline | None) -> tuple[str, ...]:
    """Return the sentences at the top of a ranking; empty without a headline.

    They state the amount by which each submission is ranked, and no ratios to other submissions.
    """
    if headline is None:
        return ()
    if len(headline.leaders) > 1:
        by = f"By {headline.amount_name}: " if headline.pairs is None else ""
        sentences = [f"{by}{_shared_lead_sentence(headline)}", *_behind_sentences(headline)]
    else:
        amount = headline.amounts.get(headline.leaders[0])
        stated = f": {headline.amount_name} {amount}" if amount else ""
        sentences = [f"{_lead_clause(headline)}{stated}", _followers_sentence(headline)]
    return tuple(f"{sentence}." for sentence in sentences if sentence)


def _behind_sentences(headline: Headline) -> list[str]:
    """Return which submissions are significantly behind at least one leader, and which are behind all leaders."""
    sentences = []
    for names, extent in ((headline.behind_some, "at least one of them"), (headline.behind_all, "all of them")):
        if names:
            verb = "is" if len(names) == 1 else "are"
            sentences.append(f"{_join_with_amounts(names, headline)} {verb} significantly behind {extent}")
    return sentences


def _join_with_amounts(names: Sequence[str], headline: Headline) -> str:
    """Return names as a list for a sentence. If amounts are known, they follow the names in parentheses."""
    if not headline.amounts:
        return join_names(names)
    return join_names([f"{name} ({headline.amounts[name]})" for name in names], _MAX_NAMES_WITH_AMOUNTS)


def headline_json(board: Leaderboard) -> dict[str, Any] | None:
    """Return the statement at the top of a leaderboard as plain data; None if the leaderboard has no row."""
    headline = board.headline
    if headline is None:
        return None
    return {
        "text": " ".join(headline_sentences(board)),
        "leaders": list(headline.leaders),
        "ratios": [
            {
                "submission": ratio.submission,
                "against": ratio.against,
                "examples": _factor_or_none(ratio.factors, "examples", board),
                "cost": _factor_or_none(ratio.factors, "cost", board),
                "time": _factor_or_none(ratio.factors, "time", board),
                "workloads": list(ratio.factors.workloads) if ratio.factors else [],
            }
            for ratio in headline.ratios
        ],
        "missed": {name: list(missed) for name, missed in zip(headline.leaders, headline.missed, strict=False)},
        "followers": list(headline.followers),
        "pairs": headline.pairs,
        "required_pairs": headline.required_pairs,
        "tested": headline.is_tested,
    }


def _factor_or_none(factors: TimeFactors | None, name: str, board: Leaderboard) -> float | None:
    """Return a factor for JSON; None if it is unknown.

    The factor `time` is the ratio of the compared quantity, even if this quantity is not a time. The other factors are
    unknown unless the quantity is in `TIME_AND_EXAMPLES`.
    """
    if factors is None or (name != "time" and board.query.by not in TIME_AND_EXAMPLES):
        return None
    value: float = getattr(factors, name)
    return value


def _lead_sentence(headline: Headline, board: Leaderboard) -> str:
    """Return which single submission leads, and its ratios to the reference or to the second submission."""
    ratio, lead = headline.ratios[0], _lead_clause(headline)
    if ratio.factors is None:
        return f"{lead}: on no workload did both it and {ratio.against} reach the target"
    used, total = len(ratio.factors.workloads), len(board.workloads)
    scope = "" if used == total else f" on {used} of {_count_workloads(total)}"
    examples = f"{ratio.factors.examples:.2f}× the examples, " if board.query.by in TIME_AND_EXAMPLES else ""
    return f"{lead}: {examples}{ratio.factors.time:.2f}× the {_quantity_name(board)} of {ratio.against}{scope}"


def _lead_clause(headline: Headline) -> str:
    """Return `A leads`, or `A is first, without a significant difference from B`."""
    leader = headline.leaders[0]
    if headline.tied_with_first:
        return f"{leader} is first, without a significant difference from {join_names(headline.tied_with_first)}"
    return f"{leader} leads"


def _shared_lead_sentence(headline: Headline) -> str:
    """Return which submissions are tied for rank 1, or why the test cannot decide between them."""
    names = _join_with_amounts(headline.leaders, headline)
    if headline.pairs is None:
        return f"{names} are tied for rank 1: no significant difference between them"
    if headline.pairs == 0:
        reason = "some of them have no common study with the same root seed"
        if headline.no_pairs == "no workload":
            counted = f" ({join_names(headline.tested)})" if headline.tested else ""
            reason = f"some of them have no run on a common workload that counts for the ranks{counted}"
        return f"No verdict: rank 1 is undecided between {names}, because {reason}"
    pairs = "is only 1 pair" if headline.pairs == 1 else f"are only {headline.pairs} pairs"
    needed = f"{headline.required_pairs} are needed ({headline.required_studies} studies on each workload)"
    return f"No verdict: rank 1 is undecided between {names}, because there {pairs} of studies, and {needed}"


def _ratio_sentence(headline: Headline, board: Leaderboard) -> str:
    """Return the range of the leaders' ratios to the submission with which they are compared."""
    values = {ratio.submission: ratio.factors.time for ratio in headline.ratios if ratio.factors is not None}
    if not values:
        return ""
    low, high = (f"{value:.2f}×" for value in (min(values.values()), max(values.values())))
    against = headline.ratios[0].against
    subject = "The others take" if against in headline.leaders else "They take"
    if len(values) == 1:
        subject = f"{next(iter(values))} takes"
    extent = low if low == high else f"{low} to {high}"
    return f"{subject} {extent} the {_quantity_name(board)} of {against} where both reach the target"


def _quantity_name(board: Leaderboard) -> str:
    return "time" if board.query.by in TIME_AND_EXAMPLES else board.query.by


def _count_workloads(count: int) -> str:
    return "1 workload" if count == 1 else f"{count} workloads"


def _hits_sentence(headline: Headline, board: Leaderboard) -> str:
    """Return on how many workloads the leaders reached the target; empty if they reached every target.

    The ratios do not include misses, so the sentence states the misses.
    """
    total = len(board.workloads)
    hits = sorted(total - len(missed) for missed in headline.missed)
    if not hits or hits[0] == total:
        return ""
    if len(hits) > 1:
        reached = "The submissions whose best possible rank is 1 reached the target on"
        if hits[0] == hits[-1]:
            return f"{reached} {hits[0]} of {_count_workloads(total)} each"
        return f"{reached} {hits[0]} to {hits[-1]} of {_count_workloads(total)}, depending on the submission"
    missed = join_names(headline.missed[0])
    return f"It did not reach the target on {total - hits[0]} of {_count_workloads(total)} ({missed})"


def _followers_sentence(headline: Headline) -> str:
    """Return the submissions behind the leaders, such as `Ranks 2 to 4 tied: a, b and c`; empty if there are none."""
    best, worst = headline.follower_ranks
    if not headline.followers:
        return ""
    if len(headline.followers) == 1:
        name = _join_with_amounts(headline.followers, headline)
        return f"Rank {best}: {name}" if worst == best else f"Next: {name}"
    state = "undecided" if headline.followers_undecided else "tied"
    names = _join_with_amounts(headline.followers, headline)
    if worst is not None and worst - best + 1 == len(headline.followers):
        return f"Ranks {best} to {worst} {state}: {names}"
    return f"Rank {best}, {state}: {names}" if len(headline.leaders) == 1 else f"Behind, {state}: {names}"


def _mean_rank_sentence(headline: Headline, board: Leaderboard) -> str:
    mean = {row.submission: row.mean_rank for row in board.rows}[headline.leaders[0]]
    value = "" if mean is None else f" ({mean:.2f})"
    verb = "is first" if len(headline.leaders) == 1 else "share the first place"
    following = f", then {join_names(headline.followers)}" if headline.followers else ""
    return f"By mean rank, {join_names(headline.leaders)} {verb}{value}{following}"


def join_names(names: Sequence[str], limit: int = _MAX_NAMES) -> str:
    """Return names as a list for a sentence. In a long list, a number stands for the last names.

    >>> join_names(["a"]), join_names(["a", "b", "c"]), join_names("abcdef")
    ('a', 'a, b and c', 'a, b, c, d and 2 more')
    """
    if len(names) == 1:
        return names[0]
    if len(names) > limit + 1:
        return f"{', '.join(names[:limit])} and {len(names) - limit} more"
    return f"{', '.join(names[:-1])} and {names[-1]}"
