"""Every optimizer against published numbers, or against its formula written out in numbers of its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness.api import Parameter, PartEntry
from harness.contract import hyperparameters
from harness.plugins import loading
from harness.plugins.registry import load_registry

PARTS: dict[str, PartEntry] = {part.name: part for part in load_registry().parts() if part.kind == "optimizer"}
GRADIENTS = ([0.1, -0.2], [0.3, 0.1], [-0.05, 0.4])
CURVATURE = torch.tensor([1.0, 10.0], dtype=torch.float64)
ADAM: dict[str, Any] = {"lr": 1e-2, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}


def made(name: str, values: Any, dtype: torch.dtype = torch.float64, **hparams: Any) -> tuple[nn.Parameter, Any]:
    """(a matrix, the optimizer over it), with the part's defaults but for `hparams`."""
    part = PARTS[name]
    assert set(hparams) - {"horizon"} <= set(part.space)
    settings = {key: hyperparameters.default(domain) for key, domain in part.space.items()} | hparams
    tensor = nn.Parameter(torch.as_tensor(values, dtype=dtype).clone())
    optimizer = loading.load_object(part.load)([Parameter("p", tensor, "matrix")], **settings)
    if isinstance(optimizer, list):
        (optimizer,) = optimizer
    return tensor, optimizer


def steps(p: nn.Parameter, optimizer: Any, gradients: Any = GRADIENTS) -> list[list[float]]:
    """The values after every step."""
    found = []
    for gradient in gradients:
        p.grad = torch.as_tensor(gradient, dtype=p.dtype).clone()
        optimizer.step()
        found.append(p.detach().flatten().tolist())
    return found


def close(found: list[list[float]], wanted: list[list[float]], tolerance: float = 1e-6) -> bool:
    return all(a == pytest.approx(b, abs=tolerance, rel=0) for a, b in zip(found, wanted, strict=True))


VECTORS: list[tuple[str, dict[str, Any], list[list[float]]]] = [
    (
        "heavy-ball",
        {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.0},
        [[0.99, 2.02], [0.951, 2.028], [0.9209, 1.9952]],
    ),
    (
        "nadamw",
        {**ADAM, "weight_decay": 0.1},
        [[0.9800000019, 2.016999999], [0.9637001178, 2.0140508195], [0.9583263926, 2.002343566]],
    ),
    (
        "radam",
        {**ADAM, "weight_decay": 0.0},
        [[0.999, 2.002], [0.9969473684, 2.0024210526], [0.9958366673, 2.0012107205]],
    ),
    (
        "adafactor",
        {"lr": 1e-2, "weight_decay": 0.0},
        [[0.9841886117, 2.0158113883], [0.9643066726, 2.0054228958], [0.9685054539, 1.9835704115]],
    ),
    (
        "adabound",
        {**ADAM, "final_lr": 0.1, "gamma": 1e-3, "weight_decay": 0.0},
        [[0.9900000316, 2.0099999842], [0.9808222296, 2.0126633508], [0.974813102, 2.0080900361]],
    ),
    (
        "lamb",
        {**ADAM, "eps": 1e-6, "weight_decay": 0.1},
        [[0.9819161292, 2.0131519434], [0.9595633315, 2.0145824822], [0.9433478992, 1.9992530924]],
    ),
]


@pytest.mark.parametrize(("name", "hparams", "wanted"), VECTORS, ids=[row[0] for row in VECTORS])
def test_it_takes_the_published_steps(name: str, hparams: dict[str, Any], wanted: list[list[float]]) -> None:
    assert close(steps(*made(name, [1.0, 2.0], **hparams)), wanted)


QUADRATIC: list[tuple[str, str, dict[str, Any], list[list[float]]]] = [
    (
        "schedule-free-sgd",
        "schedule-free-sgd",
        {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.0, "warmup": 0},
        [
            [0.95, 0.5],
            [0.92625, 0.375],
            [0.9029354167, 0.2729166667],
            [0.8800497187, 0.1903125],
            [0.8575864599, 0.124196875],
        ],
    ),
    (
        "dog, 1e-6",
        "dog",
        {"reps_rel": 1e-6},
        [
            [0.9999997598, 0.9999975978],
            [0.9999995899, 0.9999958991],
            [0.9999993531, 0.9999935315],
            [0.9999990297, 0.9999902973],
            [0.9999985958, 0.9999859581],
            [0.9999980225, 0.9999802256],
        ],
    ),
    *(
        (
            f"{name}, 1e-2",
            name,
            {"reps_rel": 1e-2},
            [
                [0.9975977677, 0.9759776772],
                [0.9958829247, 0.9592008907],
                [0.993485885, 0.9361134114],
                [0.9902081393, 0.9052288081],
                [0.9858179141, 0.8650942333],
                [0.9800504579, 0.8144825225],
            ],
        )
        for name in ("dog", "ldog")
    ),
    (
        "prodigy",
        "prodigy",
        {"lr": 1.0, "beta1": 0.9, "beta2": 0.999, "weight_decay": 0.0, "d0": 1e-6},
        [
            [0.9999968377, 0.9999968377],
            [0.9999925881, 0.9999925881],
            [0.9999848265, 0.9999848265],
            [0.9999622901, 0.9999622901],
            [0.9999018893, 0.9999018892],
            [0.9997474505, 0.9997474503],
        ],
    ),
]


@pytest.mark.parametrize(
    ("name", "hparams", "wanted"), [row[1:] for row in QUADRATIC], ids=[row[0] for row in QUADRATIC]
)
def test_it_descends_a_quadratic_as_published(name: str, hparams: dict[str, Any], wanted: list[list[float]]) -> None:
    p, optimizer = made(name, [1.0, 1.0], **hparams)
    found = []
    for _ in wanted:
        p.grad = CURVATURE * p.detach()
        optimizer.step()
        if hasattr(optimizer, "eval"):
            optimizer.eval()
        found.append(p.tolist())
        if hasattr(optimizer, "train"):
            optimizer.train()
    assert close(found, wanted, 1e-9 if name in ("dog", "ldog") else 1e-6)


def test_dog_knows_one_distance_for_all_and_ldog_one_for_each() -> None:
    """Two tensors, one of which hardly moves: DoG's step is one number, L-DoG's are two."""
    ratios = {}
    for name in ("dog", "ldog"):
        a, b = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
        settings = {key: hyperparameters.default(domain) for key, domain in PARTS[name].space.items()}
        parameters = [Parameter("a", a, "matrix"), Parameter("b", b, "bias")]
        optimizer = loading.load_object(PARTS[name].load)(parameters, **settings)
        for _ in range(3):
            a.grad, b.grad = torch.full((3,), 1.0), torch.full((3,), 100.0)
            optimizer.step()
        ratios[name] = float(((1 - b) / (1 - a)).mean().detach())
    assert ratios["dog"] == pytest.approx(100, rel=1e-2)
    assert ratios["ldog"] == pytest.approx(1, rel=1e-2)


class TestMatrices:
    GRADIENT = torch.tensor([[3.0, 1.0], [1.0, 2.0]])
    #: Five Newton–Schulz steps of Muon on it in double precision.
    ORTHOGONALISED = torch.tensor([[0.829653, -0.14278], [-0.14278, 0.972433]], dtype=torch.float64)

    def test_newton_schulz_of_muon(self) -> None:
        x = self.GRADIENT.double() / self.GRADIENT.norm()
        for _ in range(5):
            a = x @ x.T
            x = 3.4445 * x + (-4.775 * a + 2.0315 * a @ a) @ x
        assert torch.allclose(x, self.ORTHOGONALISED, atol=1e-6)
        assert torch.linalg.svdvals(x).tolist() == pytest.approx([1.060676, 0.74141], abs=1e-5)

    def test_muon_steps_by_it_whatever_the_gradients_size(self) -> None:
        for scale in (1e-2, 1.0, 1e2):
            p, optimizer = made("muon", torch.eye(2), torch.float32, lr=0.1, weight_decay=0.0)
            (found,) = steps(p, optimizer, [scale * self.GRADIENT])
            step = (torch.eye(2).double() - torch.tensor(found).reshape(2, 2)) / 0.1
            # bfloat16 inside.
            assert torch.allclose(step, self.ORTHOGONALISED, atol=2e-2)

    def gradients(self) -> list[Tensor]:
        return [(i + 1) * self.GRADIENT for i in range(3)]

    def test_shampoo(self) -> None:
        p, optimizer = made("shampoo", torch.eye(2), torch.float32, lr=0.1, weight_decay=0.0, matrix_eps=1e-4)
        wanted = [[0.9, 0, 0, 0.9], [0.810558, 0, 0, 0.81056], [0.73038, 0, 0, 0.73038]]
        assert close(steps(p, optimizer, self.gradients()), wanted, 1e-4)

    def test_soap_where_its_toy_is_determined(self) -> None:
        """The toy's gradients share their eigenvectors, so what is off the diagonal there is 0/0: rounding decides.

        The authors' code gave `wanted`; in the eigenbasis its diagonal is what any right implementation gives.
        """
        p, optimizer = made("soap", torch.eye(2), torch.float32, lr=0.1, weight_decay=0.0, every=1)
        found = steps(p, optimizer, self.gradients())
        assert found[0] == [1.0, 0.0, 0.0, 1.0]  # the first step only initialises
        basis = torch.linalg.eigh(self.GRADIENT)[1]
        wanted = [[0.89809, -0.07924, 0.08114, 0.90191], [0.78755, -0.10551, 0.11987, 0.81629]]
        for ours, theirs in zip(found[1:], wanted, strict=True):
            one, other = (torch.diag(basis.T @ torch.tensor(m).reshape(2, 2) @ basis) for m in (ours, theirs))
            assert one.tolist() == pytest.approx(other.tolist(), abs=2e-5)

    @pytest.mark.parametrize("every", [1, 2])
    def test_soap_is_adam_in_the_eigenbasis(self, every: int) -> None:
        """Against the algorithm written out, on gradients without common eigenvectors."""
        generator = torch.Generator().manual_seed(0)
        gradients = torch.randn(6, 3, 4, generator=generator, dtype=torch.float64)
        start = torch.randn(3, 4, generator=generator, dtype=torch.float64)
        hparams: dict[str, Any] = {"lr": 0.1, "beta1": 0.9, "beta2": 0.95, "weight_decay": 0.1, "every": every}
        found = steps(*made("soap", start, **hparams), gradients)
        w, m, v = start.clone(), torch.zeros(3, 4).double(), torch.zeros(3, 4).double()
        left, right = 0.05 * gradients[0] @ gradients[0].T, 0.05 * gradients[0].T @ gradients[0]
        ql, qr = (torch.linalg.eigh(side)[1].flip(1) for side in (left, right))
        wanted = [w.flatten().tolist()]
        for t, g in enumerate(gradients[1:], 1):
            m, v = 0.9 * m + 0.1 * g, 0.95 * v + 0.05 * (ql.T @ g @ qr) ** 2
            rate = 0.1 * math.sqrt(1 - 0.95**t) / (1 - 0.9**t)
            w = w - rate * ql @ ((ql.T @ m @ qr) / (v.sqrt() + 1e-8)) @ qr.T
            w = w - 0.1 * 0.1 * w
            left, right = 0.95 * left + 0.05 * g @ g.T, 0.95 * right + 0.05 * g.T @ g
            if t % every == 0:
                rows, columns = (
                    torch.diag(q.T @ side @ q).argsort(descending=True) for q, side in ((ql, left), (qr, right))
                )
                v = v[rows][:, columns]
                ql, qr = (torch.linalg.qr(side @ q)[0] for side, q in ((left, ql[:, rows]), (right, qr[:, columns])))
            wanted.append(w.flatten().tolist())
        # The library takes the QR decomposition in single precision.
        assert close(found, wanted, 1e-4)

    def test_galore_is_adam_on_the_projected_gradient(self) -> None:
        generator = torch.Generator().manual_seed(0)
        gradients = torch.randn(5, 6, 4, generator=generator)
        hparams: dict[str, Any] = {"lr": 0.1, "beta1": 0.9, "beta2": 0.95, "rank": 0.5, "scale": 0.25, "every": 3}
        found = steps(*made("galore", torch.ones(6, 4), torch.float32, weight_decay=0.1, **hparams), gradients)
        w, m, v, wanted = torch.ones(6, 4), torch.zeros(6, 2), torch.zeros(6, 2), []
        for t, g in enumerate(gradients, 1):
            if t == 1 or t % 3 == 0:
                basis = torch.linalg.svd(g, full_matrices=False)[2][:2]
            m, v = 0.9 * m + 0.1 * g @ basis.T, 0.95 * v + 0.05 * (g @ basis.T) ** 2
            rate = 0.1 * math.sqrt(1 - 0.95**t) / (1 - 0.9**t)
            w = w - rate * 0.25 * (m / (v.sqrt() + 1e-8)) @ basis
            w = w - 0.1 * 0.1 * w
            wanted.append(w.flatten().tolist())
        assert close(found, wanted, 1e-5)


# --- formulas without published numbers --------------------------------------------------------------------------


def by_formula(rule: Callable[[int, list[float], float, float], tuple[list[float], float]], state: list[float]) -> Any:
    """Values of both coordinates after each of GRADIENTS; `rule` is (t, state, θ, g) -> (state, θ)."""
    thetas, states, found = [1.0, 2.0], [list(state), list(state)], []
    for t, gradient in enumerate(GRADIENTS, 1):
        for i, g in enumerate(gradient):
            states[i], thetas[i] = rule(t, states[i], thetas[i], g)
        found.append(list(thetas))
    return found


def test_sgdw_decays_apart_from_the_gradient() -> None:
    def rule(t: int, state: list[float], x: float, g: float) -> tuple[list[float], float]:
        buffer = 0.9 * state[0] + g
        return [buffer], x - 0.1 * 0.2 * x - 0.1 * buffer

    p, optimizer = made("sgdw", [1.0, 2.0], lr=0.1, momentum=0.9, weight_decay=0.2)
    assert close(steps(p, optimizer), by_formula(rule, [0.0]), 1e-9)
    # A schedule may change it between steps, so it must stand in the group as it was given.
    assert optimizer.param_groups[0]["weight_decay"] == 0.2


def test_lion() -> None:
    def rule(t: int, state: list[float], x: float, g: float) -> tuple[list[float], float]:
        x -= 0.01 * (math.copysign(1.0, 0.9 * state[0] + 0.1 * g) + 0.1 * x)
        return [0.99 * state[0] + 0.01 * g], x

    found = steps(*made("lion", [1.0, 2.0], lr=1e-2, beta1=0.9, beta2=0.99, weight_decay=0.1))
    assert close(found, by_formula(rule, [0.0]), 1e-9)


def test_adamod_bounds_its_step_sizes_by_their_mean() -> None:
    def rule(t: int, state: list[float], x: float, g: float) -> tuple[list[float], float]:
        m, v, s = 0.9 * state[0] + 0.1 * g, 0.99 * state[1] + 0.01 * g * g, state[2]
        size = 1e-2 * math.sqrt(1 - 0.99**t) / (1 - 0.9**t) / (math.sqrt(v) + 1e-8)
        s = 0.7 * s + 0.3 * size
        return [m, v, s], x - 1e-2 * 0.1 * x - min(size, s) * m

    hparams: dict[str, Any] = {**ADAM, "beta2": 0.99, "beta3": 0.7, "weight_decay": 0.1}
    assert close(steps(*made("adamod", [1.0, 2.0], **hparams)), by_formula(rule, [0.0, 0.0, 0.0]), 1e-9)


@pytest.mark.parametrize("horizon", [None, 2])
def test_ademamix_lets_its_slow_mean_rise(horizon: int | None) -> None:
    def rule(t: int, state: list[float], x: float, g: float) -> tuple[list[float], float]:
        alpha, beta3 = 5.0, 0.99
        if horizon is not None:
            share, fast, slow = t / horizon, math.log(0.9), math.log(0.99)
            alpha = min(share * 5.0, 5.0)
            beta3 = min(math.exp(fast * slow / ((1 - share) * slow + share * fast)), 0.99)
        m, v = 0.9 * state[0] + 0.1 * g, 0.999 * state[1] + 0.001 * g * g
        slow_mean = beta3 * state[2] + (1 - beta3) * g
        size = (m / (1 - 0.9**t) + alpha * slow_mean) / (math.sqrt(v / (1 - 0.999**t)) + 1e-8)
        return [m, v, slow_mean], x - 1e-2 * (size + 0.1 * x)

    hparams: dict[str, Any] = {**ADAM, "beta3": 0.99, "alpha": 5.0, "weight_decay": 0.1, "horizon": horizon}
    assert close(steps(*made("ademamix", [1.0, 2.0], **hparams)), by_formula(rule, [0.0, 0.0, 0.0]), 1e-9)


def test_fadam_clips_by_the_root_mean_square() -> None:
    theta, m, f, wanted = torch.tensor([1.0, 2.0]), torch.zeros(2), torch.ones(2), []
    for t, gradient in enumerate(GRADIENTS, 1):
        g = torch.tensor(gradient)
        beta2 = 0.999 * (1 - 0.999 ** (t - 1)) / (1 - 0.999**t)
        f = beta2 * f + (1 - beta2) * g**2

        def clipped(x: Tensor) -> Tensor:
            return x / max(1.0, float(x.square().mean().sqrt()))

        natural = f.sqrt() + 1e-8
        m = 0.9 * m + 0.1 * clipped(g / natural)
        theta = theta - 1e-2 * (m + 0.1 * clipped(theta / natural))
        wanted.append(theta.tolist())
    assert close(steps(*made("fadam", [1.0, 2.0], torch.float32, **ADAM, weight_decay=0.1)), wanted)


def test_schedule_free_radam_does_nothing_until_its_variance_is_known() -> None:
    """Against the algorithm written out: y the point of the gradient, z the iterate, x the average."""
    p, optimizer = made("schedule-free-radam", [1.0, 1.0], lr=0.1, beta1=0.9, beta2=0.99, weight_decay=0.0)
    x, y, z = (torch.ones(2).double() for _ in range(3))
    v, total, longest = torch.zeros(2).double(), 0.0, 2 / (1 - 0.99) - 1
    for t in range(1, 12):
        p.grad = CURVATURE * p.detach()
        optimizer.step()
        g = CURVATURE * y
        v = 0.99 * v + 0.01 * g**2
        length = longest - 2 * t * 0.99**t / (1 - 0.99**t)
        scale = 0.0
        if length > 4:
            top, bottom = (length - 4) * (length - 2) * longest, (longest - 4) * (longest - 2) * length
            scale = math.sqrt(top / bottom)
        z = z - 0.1 * scale * g / ((v / (1 - 0.99**t)).sqrt() + 1e-8)
        total += (largest := 0.1 * scale) ** 2  # the rate never falls here
        share = largest**2 / total if total else 0.0
        x = (1 - share) * x + share * z
        y = 0.1 * z + 0.9 * x
        optimizer.eval()
        assert p.tolist() == pytest.approx(x.tolist(), abs=1e-9)
        optimizer.train()
    assert p.tolist() != [1.0, 1.0]


# --- namesakes: what must not be taken for these methods ------------------------------------------------------------


def test_torchs_nadam_is_another_algorithm() -> None:
    p = nn.Parameter(torch.tensor([1.0, 2.0], dtype=torch.float64))
    other = torch.optim.NAdam([p], lr=1e-2, weight_decay=0.1, decoupled_weight_decay=True)
    found = steps(p, other)
    wanted = [[0.9884354833, 2.0085645173], [0.9773336391, 2.0024448557], [0.9772280885, 1.9907168953]]
    assert close(found, wanted)
    assert not close(found, VECTORS[1][2], 1e-3)


def test_lamb_without_bias_correction_is_another_algorithm() -> None:
    """torch-optimizer's numbers, from its arithmetic: the moments as they are."""
    theta, m, v = (torch.tensor(x, dtype=torch.float64) for x in ([1.0, 2.0], [0.0, 0.0], [0.0, 0.0]))
    found = []
    for gradient in GRADIENTS:
        g = torch.tensor(gradient, dtype=torch.float64)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        u = m / (v.sqrt() + 1e-6) + 0.1 * theta
        theta = theta - 1e-2 * theta.norm().clamp(max=10) / u.norm() * u
        found.append(theta.tolist())
    wanted = [[0.9834468084, 2.0150330253], [0.9616078911, 2.0201137988], [0.9441633377, 2.0061051405]]
    assert close(found, wanted, 1e-9)
    ours = steps(*made("lamb", [1.0, 2.0], **{**ADAM, "eps": 1e-6, "weight_decay": 0.1}))
    assert not close(ours, wanted, 5e-4)


def test_the_librarys_lamb_is_not_interchangeable() -> None:
    library = pytest.importorskip("pytorch_optimizer")
    p = nn.Parameter(torch.tensor([1.0, 2.0], dtype=torch.float64))
    found = steps(p, library.Lamb([p], lr=1e-2, weight_decay=0.1))
    wanted = [[0.8410567512, 2.1559682178], [0.7233576216, 2.1877226689], [0.6550426825, 2.1340920885]]
    assert close(found, wanted)


# --- AlgoPerf's published hyperparameters --------------------------------------------------------------------------


def test_algoperfs_points() -> None:
    """Columns of its tuning_search_space.json: lr, 1 − β₁, β₂, decay, warmup, label smoothing, dropout."""
    from submissions.optimizers.nadamw import POINTS, SELF_TUNING

    published = [
        (1.3082e-3, 0.026867, 0.998123, 0.163753, 0.1, 0.1, 0.0),
        (8.4451e-4, 0.110424, 0.997850, 0.081354, 0.05, 0.2, 0.0),
        (1.3082e-3, 0.026867, 0.998123, 0.163753, 0.1, 0.0, 0.0),
        (4.9585e-3, 0.136256, 0.629185, 0.114739, 0.02, 0.0, 0.0),
        (1.7486e-3, 0.067339, 0.995516, 0.081216, 0.02, 0.0, 0.1),
    ]
    names = ("lr", "beta1", "beta2", "weight_decay", "warmup", "label_smoothing", "dropout")
    for point, row in zip(POINTS, published, strict=True):
        wanted = dict(zip(names, (row[0], 1 - row[1], *row[2:]), strict=True))
        assert point == pytest.approx(wanted, abs=1e-12)
    # The self-tuning setting is the fifth point with all its digits.
    assert pytest.approx(POINTS[4], rel=2e-4) == SELF_TUNING
    assert (SELF_TUNING["lr"], SELF_TUNING["beta2"]) == (0.0017486387539278373, 0.9955159689799007)
