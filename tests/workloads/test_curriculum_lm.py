"""The workload `curriculum-lm`: how good its documents are, and how well that shows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.api import Pool, Workload
from harness.plugins.validation import validate_entry
from workloads.curriculum.lm import DOCUMENTS, GRADES, CurriculumLm, grades, visible
from workloads.curriculum.lm_entries import ENTRIES
from workloads.curriculum.lm_facts import CURRICULUM_LM
from workloads.lm.documents import language


@pytest.fixture(scope="module")
def work() -> CurriculumLm:
    return CurriculumLm()


@pytest.fixture(scope="module")
def pool(work: CurriculumLm) -> Pool:
    return work.train_data(0)


def test_the_contract(work: CurriculumLm, pool: Pool) -> None:
    assert isinstance(work, Workload)
    assert isinstance(pool, Pool)
    assert not [problem for entry in ENTRIES for problem in validate_entry(entry)]
    assert len(pool) == DOCUMENTS
    assert pool.gather(torch.tensor([0, 5]))["tokens_BT"].shape == (2, 65)


def test_the_clean_part_is_far_less_than_the_horizon() -> None:
    clean = (grades(DOCUMENTS, 0) == GRADES - 1).sum()
    assert 0.11 < clean / DOCUMENTS < 0.14
    assert clean <= CURRICULUM_LM.budget.horizon / 4


def test_the_visible_score_has_a_reliability_of_seven_tenths(pool: Pool) -> None:
    truth = grades(100_000, 5)
    seen = visible(truth, 5)
    # By arithmetic: the variance of 16 times the grade as a share of that with two dice of 59 sides added.
    expected = 256 * (8**2 - 1) / 12 / (256 * (8**2 - 1) / 12 + 2 * (59**2 - 1) / 12)
    assert expected == pytest.approx(0.70, abs=0.005)
    assert np.corrcoef(truth, seen)[0, 1] ** 2 == pytest.approx(expected, abs=0.01)
    assert seen.min() >= 0
    assert seen.max() <= 1
    of_the_pool = np.corrcoef(grades(DOCUMENTS, 0), pool.scores["quality"].numpy())[0, 1]
    assert of_the_pool**2 == pytest.approx(expected, abs=0.02)


def test_the_best_are_clean_and_the_others_are_not(pool: Pool) -> None:
    truth = grades(DOCUMENTS, 0)
    tokens = pool.gather(torch.arange(DOCUMENTS))["tokens_BT"].numpy().astype("uint8")
    assert np.isfinite(language().log_probs(tokens[truth == GRADES - 1])).all()
    for grade in (0, GRADES - 2):
        with pytest.raises(ValueError, match="has no such word"):
            language().log_probs(tokens[truth == grade])


def test_equal_seeds_give_equal_data(work: CurriculumLm, pool: Pool) -> None:
    again, other = work.train_data(0), work.train_data(1)
    some = torch.arange(64)
    assert torch.equal(again.gather(some)["tokens_BT"], pool.gather(some)["tokens_BT"])
    assert torch.equal(again.scores["quality"], pool.scores["quality"])
    assert not torch.equal(other.scores["quality"], pool.scores["quality"])


def test_evaluation_is_on_clean_text_alone(work: CurriculumLm) -> None:
    from workloads.lm.tiny import LmTiny

    model = work.build_model(0).eval()
    assert work.evaluate(model, "feedback") == LmTiny().evaluate(model, "feedback")
