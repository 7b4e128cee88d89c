"""Ghost batch norm: every group of examples is normalised as a batch of its own, and evaluation knows nothing of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness.contract.domains import Choice
from harness.contract.entries import WorkloadEntry
from harness.errors import BenchError
from harness.plugins.loading import load_object
from harness.worker.batch_norm import BatchStatistics
from tests.helpers import spec_of, submission
from tests.worker.build import microbatched_work_of
from workloads.resnet.digits import ResnetDigits
from workloads.resnet.entries import ENTRIES
from workloads.resnet.ghost import GhostBatchNorm2d
from workloads.resnet.model import ResnetConfig, build, parameter_kinds
from workloads.resnet.resnet9 import build as build_resnet9

C = 5


def pair(group: int, momentum: float | None = 0.3) -> tuple[GhostBatchNorm2d, nn.BatchNorm2d]:
    """A layer in groups and torch's, with the same scales, shifts and running statistics, none of them trivial."""
    ghost, plain = GhostBatchNorm2d(C, group=group, momentum=0.3), nn.BatchNorm2d(C, momentum=0.3)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in (ghost.weight, ghost.bias, ghost.running_mean, ghost.running_var):
            assert tensor is not None
            tensor.uniform_(0.5, 2.0, generator=generator)
    ghost.momentum = momentum
    plain.load_state_dict(ghost.state_dict())
    plain.momentum = momentum
    return ghost, plain


def examples(n: int) -> Tensor:
    """Images whose level rises with their place in the batch, so that groups differ."""
    noise = torch.randn(n, C, 4, 3, generator=torch.Generator().manual_seed(1))
    return noise + torch.arange(n).float()[:, None, None, None] / 4


def in_turn(plain: nn.BatchNorm2d, x_BCHW: Tensor, sizes: list[int]) -> Tensor:
    return torch.cat([plain(part) for part in x_BCHW.split(sizes)])  # type: ignore[no-untyped-call]


#: Examples in a group and in a batch, and the groups that come of it.
SIZES = [
    (4, 16, [4, 4, 4, 4]),
    (4, 15, [4, 4, 7]),
    (4, 9, [4, 5]),
    (4, 7, [7]),
    (4, 4, [4]),
    (8, 3, [3]),
    (1, 3, [1] * 3),
]


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("group", "n", "sizes"), SIZES)
def test_groups_are_batches_of_their_own(group: int, n: int, sizes: list[int], channels_last: bool) -> None:
    """Outputs, gradients and running statistics; what is left over belongs to the last group."""
    ghost, plain = pair(group)
    pixels = examples(n)
    if channels_last:
        pixels = pixels.contiguous(memory_format=torch.channels_last)
    one, other = pixels.clone().requires_grad_(), pixels.clone().requires_grad_()
    found, wanted = ghost(one), in_turn(plain, other, sizes)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    assert found.is_contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    weights = torch.randn(found.shape, generator=torch.Generator().manual_seed(2))
    (found * weights).sum().backward()
    (wanted * weights).sum().backward()  # type: ignore[no-untyped-call]
    for a, b in [(one, other), (ghost.weight, plain.weight), (ghost.bias, plain.bias)]:
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-5)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(ghost.state_dict()[name], value, rtol=1e-5, atol=1e-6, msg=name)
    assert ghost.num_batches_tracked == len(sizes)
    if len(sizes) > 1:
        assert not torch.allclose(found, pair(group)[1](pixels), atol=0.1), "as one batch it is something else"


@pytest.mark.parametrize("momentum", [None, 0.0, 1.0])
def test_running_statistics_move_as_they_are_told(momentum: float | None) -> None:
    """A plain mean is what the harness asks for when weights are averaged, no move what SAM asks for."""
    ghost, plain = pair(4, momentum)
    for n, sizes in ((8, [4, 4]), (15, [4, 4, 7])):
        ghost(examples(n))
        in_turn(plain, examples(n), sizes)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(ghost.state_dict()[name], value, rtol=1e-5, atol=1e-6, msg=name)


def test_running_statistics_are_not_rounded_by_autocast() -> None:
    ghost, plain = pair(4)
    with torch.autocast("cpu", torch.bfloat16):
        ghost(examples(16))
    in_turn(plain, examples(16), [4] * 4)
    torch.testing.assert_close(ghost.running_mean, plain.running_mean, rtol=1e-5, atol=1e-5)


def test_evaluation_is_batch_norm() -> None:
    ghost, plain = pair(4)
    before = {name: value.clone() for name, value in ghost.state_dict().items()}
    assert torch.equal(ghost.eval()(examples(16)), plain.eval()(examples(16)))
    assert all(torch.equal(before[name], value) for name, value in ghost.state_dict().items())


@pytest.mark.slow
def test_it_is_one_graph() -> None:
    ghost, plain = pair(4)
    compiled = torch.compile(ghost, backend="aot_eager", fullgraph=True, dynamic=False)
    torch.testing.assert_close(compiled(examples(15)), in_turn(plain, examples(15), [4, 4, 7]), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ghost.running_var, plain.running_var)
    torch._dynamo.reset()


# --- in the networks ------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_every_network_offers_it_and_is_without_it_by_default(entry: WorkloadEntry) -> None:
    domain = entry.facts.model_options["ghost_bn"]
    assert isinstance(domain, Choice)
    assert domain.values[0] == 0
    assert domain.default is None
    work = load_object(entry.load)(**entry.arguments)
    with torch.device("meta"):
        network = work.network(0, ghost_bn=domain.values[-1])
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms
    assert all(isinstance(m, GhostBatchNorm2d) and m.group == domain.values[-1] for m in norms)
    with pytest.raises(BenchError, match=rf"ghost_bn={domain.values[-1]} with norm=group: only batch norm"):
        work.build_model(0, ghost_bn=domain.values[-1], norm="group")


@pytest.mark.parametrize("made", [build, build_resnet9], ids=["resnet", "resnet9"])
def test_off_is_the_network_as_it_was(made: Callable[[ResnetConfig, int], nn.Module]) -> None:
    config = ResnetConfig(widths=(4, 4, 4, 4), blocks=(1, 1, 1, 1))
    off = made(config, 0)
    assert {type(m) for m in off.modules() if isinstance(m, nn.BatchNorm2d)} == {nn.BatchNorm2d}
    on = made(ResnetConfig(widths=(4, 4, 4, 4), blocks=(1, 1, 1, 1), ghost_bn=4), 0)
    assert parameter_kinds(on) == parameter_kinds(off)
    states = on.state_dict(), off.state_dict()
    assert list(states[0]) == list(states[1])
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[1])


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(BenchError, match=r"ghost_bn=16 with norm=none.*set norm=batch or ghost_bn=0"):
        ResnetDigits().build_model(0, ghost_bn=16, norm="none")
    assert ResnetDigits().build_model(0, ghost_bn=0, norm="none") is not None
    refused: list[dict[str, Any]] = [{"ghost_bn": 4, "norm": "group"}, {"ghost_bn": -1}]
    for options in refused:
        with pytest.raises(ValueError, match="ghost_bn"):
            ResnetConfig(**options)


# --- in the harness -------------------------------------------------------------------------------


def passed(ghost_bn: int, micro_batch: int | None) -> tuple[Tensor, dict[str, Tensor], list[Tensor]]:
    """Loss, running statistics and gradients of a counted pass over 64 digits, cut by the harness."""
    work = ResnetDigits()
    model = work.build_model(0, ghost_bn=ghost_bn).train()
    spec = spec_of(submission("tests.submissions_for_tests:Base"), workload=ENTRIES[0])
    parted, passes = microbatched_work_of(spec, work, model)
    passes.micro_batch = micro_batch
    loss = parted.backward(parted.draw(indices=torch.arange(0, 6400, 100)))
    statistics = {name: value for name, value in model.state_dict().items() if "running" in name}
    return loss, statistics, [p.grad for p in model.parameters() if p.grad is not None]


def test_a_pass_in_pieces_of_whole_groups_is_the_pass_over_all() -> None:
    """Ordinary batch norm cannot have this: its statistics are those of a piece."""
    for micro_batch in (16, 32):
        one, other = passed(16, None), passed(16, micro_batch)
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(passed(0, None)[0], passed(0, 16)[0], rtol=1e-6, atol=1e-6)


def test_statistics_taken_anew_are_means_over_groups() -> None:
    """As `eval_weights` wants them: the plain mean over the groups of the batches kept."""
    work = ResnetDigits()
    model = work.build_model(0, ghost_bn=16).train()
    spec = spec_of(submission("tests.submissions_for_tests:Base"), workload=ENTRIES[0])
    counted, _ = microbatched_work_of(spec, work, model)
    found = BatchStatistics.from_model(model)
    assert found is not None
    batch = counted.draw(indices=torch.arange(0, 3200, 100))
    found.remember(batch, counted)
    norm = model.get_submodule("stem_norm")
    assert isinstance(norm, GhostBatchNorm2d)
    with torch.no_grad():
        variances = [model.get_submodule("stem")(part).var(dim=(0, 2, 3)) for part in batch["x_BCHW"].split(16)]  # type: ignore[no-untyped-call]
    with found.use_recomputed():
        torch.testing.assert_close(norm.running_var, torch.stack(variances).mean(0), rtol=1e-4, atol=1e-6)
        assert norm.num_batches_tracked == 2
    assert norm.num_batches_tracked == 0
