"""Token dropping: middle blocks see some positions of each sequence in training, and nothing else is different."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend

from harness.api import Batch, BenchError, Choice
from workloads.lm.facts import LM_16M, LM_124M, LM_124M_SYNTHETIC
from workloads.lm.model import GPT, Block, GPTConfig, _rotate, build, mean_loss_in_parts, next_symbol_loss
from workloads.lm.web import Lm16m, Lm124m

B, T, V = 3, 16, 11
CONFIG = GPTConfig(layers=4, width=32, heads=2, context=T, vocabulary=V, qk_norm=True, token_drop=0.4)
#: Of 16 positions.
KEPT = 10


def tokens(length: int = T) -> Tensor:
    return torch.randint(V, (B, length), generator=torch.Generator().manual_seed(0))


def after(seed: int, model: nn.Module, tokens_BT: Tensor) -> Tensor:
    torch.manual_seed(seed)
    made: Tensor = model(tokens_BT)
    return made


def streams(model: GPT, tokens_BT: Tensor) -> list[Tensor]:
    """What enters the first middle block, the second, and the last, as it stands in the whole sequence."""
    seen: list[Tensor] = []
    plain = model._apply_to_random_positions

    def spy(block: nn.Module, x_BTD: Tensor, rotation: Any) -> Tensor:
        seen.append(x_BTD)
        made = plain(block, x_BTD, rotation)
        if len(seen) == CONFIG.layers - 2:
            seen.append(made)
        return made

    model._apply_to_random_positions = spy  # type: ignore[method-assign]
    after(1, model, tokens_BT)
    return seen


def attended(block: Block, h_BTD: Tensor, turn: tuple[Tensor, Tensor] | None, seen_BTT: Tensor) -> Tensor:
    """Attention over all positions, of which those of a mask count."""
    attention = block.attention
    q, k, v = (
        part.view(B, T, attention.heads, -1).transpose(1, 2) for part in attention.qkv(h_BTD).split(CONFIG.width, dim=2)
    )
    q, k = attention.query_norm(q), attention.key_norm(k)
    if turn is not None:
        q, k = _rotate(q, *turn), _rotate(k, *turn)
    scores = (q @ k.transpose(2, 3) / q.shape[-1] ** 0.5).masked_fill(~seen_BTT[:, None], -torch.inf)
    made: Tensor = attention.out((scores.softmax(dim=3) @ v).transpose(1, 2).flatten(2))
    return made


def reference(model: GPT, tokens_BT: Tensor) -> Tensor:
    """Logits by masks alone: every block computes every position, and the result is taken where it was kept."""
    torch.manual_seed(1)
    turn = None if model.positions is not None else (model.cos_TN, model.sin_TN)
    x_BTD = model.embedding(tokens_BT)
    if model.positions is not None:
        x_BTD = x_BTD + model.positions.weight
    earlier_TT = torch.ones(T, T, dtype=torch.bool).tril()
    for at, block in enumerate(model.blocks):
        assert isinstance(block, Block)
        kept_BT = torch.ones(B, T, dtype=torch.bool)
        if 0 < at < len(model.blocks) - 1:
            drawn_BT = torch.rand(B, T)
            kept_BT = drawn_BT >= drawn_BT.sort(dim=1, descending=True).values[:, KEPT - 1 : KEPT]
        # A position that is not kept sees itself, so that its row, which nobody reads, is finite.
        seen_BTT = earlier_TT & kept_BT[:, None, :] | torch.eye(T, dtype=torch.bool)
        if block.post:
            h_BTD = block.attention_norm(x_BTD + attended(block, x_BTD, turn, seen_BTT))
            made_BTD = block.mlp_norm(h_BTD + block.mlp(h_BTD))
        else:
            h_BTD = x_BTD + attended(block, block.attention_norm(x_BTD), turn, seen_BTT)
            made_BTD = h_BTD + block.mlp(block.mlp_norm(h_BTD))
        x_BTD = torch.where(kept_BT[:, :, None], made_BTD, x_BTD)
    logits_BTV: Tensor = model.head(model.final_norm(x_BTD))
    return logits_BTV


@pytest.mark.parametrize("changes", [{}, {"positions": "learned"}, {"placement": "post", "norm": "layernorm"}], ids=str)
def test_it_is_attention_among_those_kept_at_their_own_positions(changes: dict[str, Any]) -> None:
    model = build(0, replace(CONFIG, **changes)).train()
    found, wanted = after(1, model, tokens()), reference(model, tokens())
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    gradients = [torch.autograd.grad(logits.square().sum(), list(model.parameters())) for logits in (found, wanted)]
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-4)
    assert all(g.abs().sum() > 0 for g in gradients[0])
    assert not torch.allclose(found, after(2, model, tokens()), atol=1e-2), "another draw is another result"


def test_dropped_positions_leave_a_block_as_they_came() -> None:
    """Bit for bit, equally many in every sequence; sequences and blocks draw for themselves."""
    entered = streams(build(0, CONFIG).train(), tokens())
    passed = [(a == b).all(dim=2) for a, b in pairwise(entered)]
    assert len(passed) == CONFIG.layers - 2
    for passed_BT in passed:
        assert passed_BT.sum(dim=1).tolist() == [T - KEPT] * B
        assert not torch.equal(passed_BT[0], passed_BT[1])
    assert not torch.equal(passed[0], passed[1])


def test_every_position_is_equally_likely_to_be_kept() -> None:
    seen: list[Tensor] = []
    model = build(0, replace(CONFIG, layers=3)).train()

    def noting(x_BKD: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
        seen.append(turn[0][:, 0, :, 0])
        return x_BKD

    model.blocks[1].forward = noting
    torch.manual_seed(1)
    with torch.no_grad():
        model(torch.zeros(4_000, T, dtype=torch.int64))
    shares_T = torch.tensor([(seen[0] == cos).sum() / 4_000 for cos in model.cos_TN[:, 0]])
    # Four standard errors of a share of 10/16.
    assert (shares_T - KEPT / T).abs().max() < 4 * 0.0077
    assert (seen[0].shape, len(seen)) == ((4_000, KEPT), 1)


def test_the_last_symbol_changes_nothing_before_it() -> None:
    model = build(0, CONFIG).train()
    before, other = after(1, model, tokens()), tokens()
    other[:, -1] = (other[:, -1] + 1) % V
    torch.testing.assert_close(after(1, model, other)[:, :-1], before[:, :-1])
    assert not torch.allclose(after(1, model, other)[:, -1], before[:, -1])


def test_evaluation_and_a_share_of_nothing_are_the_model_as_it_was() -> None:
    plain, dropping = build(0, replace(CONFIG, token_drop=0.0)), build(0, CONFIG)
    assert list(plain.state_dict()) == list(dropping.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), dropping.parameters(), strict=True))
    torch.manual_seed(1)
    state = torch.get_rng_state()
    wanted = plain.train()(tokens())
    assert torch.equal(plain.eval()(tokens()), wanted)
    assert torch.equal(dropping.eval()(tokens()), wanted)
    assert torch.equal(torch.get_rng_state(), state), "and nothing is drawn"
    assert not torch.allclose(dropping.train()(tokens()), wanted, atol=1e-2)


def test_the_global_generator_decides() -> None:
    """As for dropout, so a checkpoint that holds it goes on with the same positions."""
    model = build(0, CONFIG).train()
    torch.manual_seed(5)
    model(tokens())
    state = torch.get_rng_state()
    first = model(tokens())
    torch.set_rng_state(state)
    assert torch.equal(model(tokens()), first)
    assert not torch.equal(model(tokens()), first)


def test_the_loss_in_parts_reads_the_same_positions() -> None:
    model, batch = build(0, CONFIG).train(), tokens(T + 1)
    torch.manual_seed(1)
    whole = next_symbol_loss(model, batch)
    torch.manual_seed(1)
    torch.testing.assert_close(mean_loss_in_parts(model, batch, rows=7), whole)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # the compiler's own
def test_it_is_one_graph_whatever_is_drawn() -> None:
    """Of the web models' loss, under autocast; no shape depends on the draw, or `fullgraph` would refuse."""
    work = Lm16m()
    model = build(0, replace(CONFIG, context=32, activation="relu2", tied=True)).train()
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(work.loss, backend=counter, fullgraph=True, dynamic=False)
    losses = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        with torch.autocast("cpu", torch.bfloat16):
            loss = compiled(model, Batch(tokens_BT=tokens(T + 1)))
        loss.backward()  # type: ignore[no-untyped-call]
        losses.append(loss.item())
        model.zero_grad()
    assert counter.frame_count == 1
    assert losses[0] != losses[1]
    torch._dynamo.reset()


@pytest.mark.parametrize("changes", [{"layers": 2}, {"token_drop": 1.0}, {"token_drop": -0.1}], ids=str)
def test_what_cannot_be_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="token_drop"):
        replace(CONFIG, **changes)


# --- the models on token shards -------------------------------------------------------------------


@pytest.mark.parametrize("facts", [LM_16M, LM_124M, LM_124M_SYNTHETIC], ids=lambda facts: facts.name)
def test_web_models_offer_it_and_their_defaults_are_what_they_were(facts: Any) -> None:
    options = facts.model_options
    assert (options["token_drop"].low, options["token_drop"].high, options["token_drop"].default) == (0.0, 0.5, 0.0)
    work = Lm16m() if facts is LM_16M else Lm124m()
    assert work.facts.model_options == options
    defaults = {name: d.values[0] if isinstance(d, Choice) else d.default for name, d in options.items()}
    with torch.device("meta"):
        given, plain = work.build_model(0, **defaults), work.build_model(0)
        other = work.build_model(0, token_drop=0.5, norm="layernorm", activation="swiglu")
    assert isinstance(given, GPT)
    assert isinstance(plain, GPT)
    assert isinstance(other, GPT)
    assert given.config == plain.config
    assert (plain.config.activation, plain.config.norm, plain.config.token_drop) == ("relu2", "rmsnorm", 0.0)
    assert (other.config.activation, other.config.norm, other.config.token_drop) == ("swiglu", "layernorm", 0.5)
    with pytest.raises(BenchError, match="no model option 'depth'"):
        work.build_model(0, depth=2)
