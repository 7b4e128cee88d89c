"""The workload `continual-lm`: its stream of two domains, and that it needs a memory."""

from __future__ import annotations

import pytest
import torch

from harness.api import StagedStream, Workload
from harness.plugins.validation import validate_entry
from workloads.continual.lm import ContinualLm, entropy, held_out
from workloads.continual.lm_entries import ENTRIES
from workloads.continual.lm_facts import CONTINUAL_LM
from workloads.lm.documents import language


@pytest.fixture(scope="module")
def work() -> ContinualLm:
    return ContinualLm()


@pytest.fixture(scope="module")
def stream(work: ContinualLm) -> StagedStream:
    return work.train_data(0)


def test_facts_are_consistent(work: ContinualLm) -> None:
    assert isinstance(work, Workload)
    assert not [problem for entry in ENTRIES for problem in validate_entry(entry)]
    first, last = CONTINUAL_LM.stages
    assert last.targets == CONTINUAL_LM.targets
    assert last.targets[0].value < last.floors[0].value
    assert first.targets[0].value > 1.2 * max(entropy(0), entropy(1))


def test_each_stage_is_text_of_its_domain(stream: StagedStream) -> None:
    before = stream.draw(50)["tokens_BT"].numpy().astype("uint8")
    stream.advance()
    after = stream.draw(50)["tokens_BT"].numpy().astype("uint8")
    likelihoods = {(d, s): language(d).log_probs(t).sum() for d in (0, 1) for s, t in enumerate((before, after))}
    assert likelihoods[0, 0] > likelihoods[1, 0]
    assert likelihoods[1, 1] > likelihoods[0, 1]


@pytest.mark.slow
def test_evaluation_covers_the_domains_seen(work: ContinualLm) -> None:
    model = work.build_model(0).eval()
    one, two = work.evaluate(model, "score", 0), work.evaluate(model, "score", 1)
    assert set(one) == {"loss", "se", "loss/0", "se/0"}
    assert one["loss"] == one["loss/0"] == two["loss/0"]
    assert two["loss"] == pytest.approx((two["loss/0"] + two["loss/1"]) / 2)
    # Two domains of about the same spread: the mean's error is smaller by about the root of two.
    assert two["se"] == pytest.approx(one["se"] / 2**0.5, rel=0.2)
    assert work.evaluate(model, "score") == two
    assert work.evaluate(model, "audit", 1) != two


def test_no_text_is_in_two_places(work: ContinualLm) -> None:
    texts = [held_out(split, domain)[0] for split in ("feedback", "score", "audit") for domain in (0, 1)]
    texts.append(work.train_data(1).draw(work.facts.stages[0].max_examples)["tokens_BT"])
    rows = [set(map(bytes, t.to(torch.uint8).numpy())) for t in texts]
    assert len(set.union(*rows)) == sum(map(len, rows))


@pytest.mark.slow
def test_what_is_learnt_of_one_domain_is_lost_on_the_other(work: ContinualLm) -> None:
    """Some updates on each domain in turn: the second one gets better and the first one worse."""
    model, stream = work.build_model(0), work.train_data(2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    losses = []
    for stage in (0, 1):
        if stage:
            stream.advance()
        for _ in range(200 if stage == 0 else 80):
            optimizer.zero_grad()
            work.loss(model, stream.draw(16)).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        losses.append(work.evaluate(model, "feedback", 1))
    assert losses[1]["loss/1"] < losses[0]["loss/1"] - 0.05
    assert losses[1]["loss/0"] > losses[0]["loss/0"] + 0.05
