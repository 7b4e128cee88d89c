"""The workload `lm-tiny` and the transformer under it."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
import torch

from harness.api import Batch, BenchError, Choice, Pool, Workload
from workloads.lm.entries import ENTRIES
from workloads.lm.facts import LM_TINY
from workloads.lm.model import GPTConfig, build, parameter_kinds
from workloads.lm.tiny import LmTiny, entropy, held_out

CONFIG = GPTConfig(layers=2, width=32, heads=2, context=16, vocabulary=11)


@pytest.fixture(scope="module")
def work() -> LmTiny:
    return LmTiny()


@pytest.fixture(scope="module")
def pool(work: LmTiny) -> Pool:
    return work.train_data(0)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"norm": "layernorm", "bias": True},
        {"placement": "post"},
        {"activation": "relu2"},
        {"activation": "swiglu"},
        {"positions": "learned"},
        {"qk_norm": True},
        {"tied": True},
        {"dropout": 0.1},
        {"init_scale": 0.5},
    ],
    ids=str,
)
def test_every_kind_of_model_is_whole(changes: dict[str, Any]) -> None:
    model = build(0, replace(CONFIG, **changes)).eval()
    kinds = parameter_kinds(model)
    assert set(kinds) == {name for name, _ in model.named_parameters()}
    for name, parameter in model.named_parameters():
        assert kinds[name] in ({"bias", "norm"} if parameter.ndim == 1 else {"matrix", "embedding", "head"}), name
    assert ("head" in kinds.values()) != bool(changes.get("tied"))
    tokens_BT = torch.randint(11, (4, 16), generator=torch.Generator().manual_seed(0))
    logits_BTV = model(tokens_BT)
    assert logits_BTV.shape == (4, 16, 11)
    logits_BTV.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    # Causal: the last symbol changes nothing before it.
    tokens_BT[:, -1] = (tokens_BT[:, -1] + 1) % 11
    torch.testing.assert_close(model(tokens_BT)[:, :-1], logits_BTV[:, :-1])
    assert not torch.allclose(model(tokens_BT)[:, -1], logits_BTV[:, -1])


def test_rotary_positions_turn_by_the_distance_alone() -> None:
    from workloads.lm.model import _rotate, _rotation

    cos_TN, sin_TN = _rotation(12, 8)
    q_N, k_N = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    products = [
        (_rotate(q_N, cos_TN[i + 3], sin_TN[i + 3]) * _rotate(k_N, cos_TN[i], sin_TN[i])).sum() for i in range(9)
    ]
    torch.testing.assert_close(torch.stack(products), products[0].expand(9), rtol=1e-4, atol=1e-4)


def test_impossible_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="does not divide"):
        replace(CONFIG, heads=3)
    with pytest.raises(ValueError, match="even head width"):
        replace(CONFIG, width=6)


def test_the_contract(work: LmTiny, pool: Pool) -> None:
    assert isinstance(work, Workload)
    facts = work.facts
    assert facts is ENTRIES[0].facts
    assert all(facts.eval_every % size == 0 for size in facts.batch_sizes)
    assert facts.budget.horizon % facts.eval_every == 0
    assert len(pool) >= 2 * facts.budget.horizon
    assert pool.gather(torch.tensor([0, 5]))["tokens_BT"].shape == (2, facts.tokens_per_example + 1)


def test_the_first_loss_is_that_of_guessing(work: LmTiny, pool: Pool) -> None:
    model = work.build_model(0)
    assert sum(p.numel() for p in model.parameters()) < 1_000_000
    loss = work.loss(model, pool.gather(torch.arange(64)))
    assert loss.item() == pytest.approx(math.log(27), abs=0.05)


def test_the_mean_of_per_example_losses_is_the_loss(work: LmTiny, pool: Pool) -> None:
    batch = pool.gather(torch.arange(16))
    for options in ({}, {"label_smoothing": 0.1}):
        model = work.build_model(3, **options)
        each = work.loss(model, batch, per_example=True)
        assert each.shape == (16,)
        torch.testing.assert_close(each.mean(), work.loss(model, batch))
    work.build_model(0)


@pytest.mark.parametrize("activation", ["relu2", "gelu", "swiglu"])
def test_evaluations_and_passes_with_gradients_give_the_same_logits(work: LmTiny, pool: Pool, activation: str) -> None:
    """Bitwise: `relu2` works in place if there are no gradients."""
    model, batch = work.build_model(3, activation=activation).eval(), pool.gather(torch.arange(16))
    with_gradients = work.outputs(model, batch).detach()
    with torch.no_grad():
        assert torch.equal(work.outputs(model, batch), with_gradients)


def test_outputs_are_logits(work: LmTiny, pool: Pool) -> None:
    model, batch = work.build_model(0), pool.gather(torch.arange(4))
    logits_BTV = work.outputs(model, batch)
    assert logits_BTV.shape == (4, 64, 27)
    picked = logits_BTV.log_softmax(-1).gather(2, batch["tokens_BT"][:, 1:, None])
    torch.testing.assert_close(-picked.mean(), work.loss(model, batch))


@pytest.mark.slow
def test_equal_seeds_give_equal_weights_and_data(work: LmTiny, pool: Pool) -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    a, b, c = (work.build_model(seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert not torch.equal(a["head.weight"], c["head.weight"])
    everything = torch.arange(len(pool))
    assert torch.equal(LmTiny().train_data(0).gather(everything)["tokens_BT"], pool.gather(everything)["tokens_BT"])


def test_no_text_is_in_two_places(work: LmTiny, pool: Pool) -> None:
    texts = [
        pool.gather(torch.arange(len(pool)))["tokens_BT"],
        *(held_out(s)[0] for s in ("feedback", "score", "audit")),
    ]
    rows = [set(map(bytes, t.to(torch.uint8).numpy())) for t in texts]
    assert len(set.union(*rows)) == sum(map(len, rows)) == sum(map(len, texts))


def test_options_change_the_model(work: LmTiny) -> None:
    attention = work.build_model(0, qk_norm=True).get_submodule("blocks.0.attention.query_norm")
    assert isinstance(attention, torch.nn.LayerNorm)
    without = work.build_model(0, qk_norm=False).get_submodule("blocks.0.attention.query_norm")
    assert isinstance(without, torch.nn.Identity)
    assert isinstance(work.build_model(0, norm="rmsnorm").final_norm, torch.nn.RMSNorm)
    gated = work.build_model(0, activation="swiglu").get_submodule("blocks.0.mlp.up")
    assert gated.get_parameter("weight").shape == (2 * 168, 64)
    assert any(m.p == 0.2 for m in work.build_model(0, dropout=0.2).modules() if isinstance(m, torch.nn.Dropout))
    with pytest.raises(BenchError, match="no model option 'depth'"):
        work.build_model(0, depth=3)


def test_declared_defaults_are_the_model_without_options(work: LmTiny) -> None:
    defaults = {
        k: d.values[0] if isinstance(d, Choice) else getattr(d, "default", None)
        for k, d in LM_TINY.model_options.items()
    }
    assert repr(work.build_model(0, **defaults)) == repr(work.build_model(0))


def test_evaluation_is_the_mean_loss_and_its_distance_from_the_entropy(work: LmTiny) -> None:
    model = work.build_model(0).eval()
    metrics = work.evaluate(model, "feedback")
    tokens_BT, nats_B = held_out("feedback")
    with torch.no_grad():
        plain = float(work.loss(model, Batch(tokens_BT=tokens_BT)))
    assert metrics["cross_entropy"] == pytest.approx(plain, abs=1e-5)
    assert metrics["excess"] == pytest.approx(plain - float(nats_B.mean()), abs=1e-5)
    assert metrics["loss"] == pytest.approx(metrics["excess"] + entropy())
    with torch.no_grad():
        loss_B = work.loss(model, Batch(tokens_BT=tokens_BT), per_example=True)
    assert metrics["se"] == pytest.approx(float((loss_B - nats_B).std()) / len(nats_B) ** 0.5, rel=0.01)


def test_the_target_is_well_above_the_entropy() -> None:
    assert LM_TINY.targets[0].value > 1.1 * entropy()


@pytest.mark.slow
def test_a_few_updates_lower_the_loss(work: LmTiny, pool: Pool) -> None:
    model = work.build_model(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    before = work.evaluate(model, "feedback")["loss"]
    for step in range(20):
        optimizer.zero_grad()
        work.loss(model, pool.gather(torch.arange(step * 16, (step + 1) * 16))).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert work.evaluate(model, "feedback")["loss"] < before - 0.5


def test_facts_need_no_torch() -> None:
    code = "import sys, workloads.lm.entries; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_variant_changes_where_norms_stand(work: LmTiny) -> None:
    variant = LmTiny(variant="postnorm")
    assert variant.facts.name == "lm-tiny+postnorm"
    model = variant.build_model(0)
    assert isinstance(model.final_norm, torch.nn.Identity)
    assert all(block.post for block in model.blocks)  # type: ignore[union-attr]
    assert isinstance(work.build_model(0).final_norm, torch.nn.LayerNorm)
