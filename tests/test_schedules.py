"""The schedules against closed forms in plain Python and against PyTorch."""

import dataclasses
import math

import numpy as np
import pytest

import xpnet
from xpnet import UsageError
from xpnet.schedules import SCHEDULES, Schedule

TOLERANCES = {np.float64: 1e-13, np.float32: 2e-6}


def factor(schedule, t, epoch_steps, total_steps, dtype=np.float64):
    """The schedule's factor at step ``t`` as a Python float."""
    f = schedule(np.asarray([t], dtype), epoch_steps, total_steps)
    assert f.shape == (1,)
    assert f.dtype == dtype
    return float(f[0])


def cosine_between(a, b, s):
    return a + (b - a) * (1 - math.cos(math.pi * s)) / 2


def one_cycle(t, total, rise, start, end):
    peak, last = rise * total - 1, total - 1
    if t <= peak:
        return cosine_between(start, 1.0, t / peak)
    return cosine_between(1.0, end, (t - peak) / (last - peak))


EPOCH, TOTAL = 10, 60
CLOSED_FORMS = {
    "constant": (xpnet.Constant(), lambda t: 1.0),
    "step": (xpnet.Step(), lambda t: 0.5 ** (t // 10)),
    "step-2-epochs": (xpnet.Step(every=2, gamma=0.1), lambda t: 0.1 ** (t // 20)),
    "step-half-epoch": (xpnet.Step(every=0.5, gamma=0.7), lambda t: 0.7 ** (t // 5)),
    "exponential": (xpnet.Exponential(gamma=0.8), lambda t: 0.8 ** (t / 10)),
    "cosine": (xpnet.Cosine(), lambda t: (1 + math.cos(math.pi * t / 60)) / 2),
    "one-cycle": (xpnet.OneCycle(), lambda t: one_cycle(t, 60, 0.3, 0.04, 4e-6)),
    "one-cycle-own": (
        xpnet.OneCycle(rise=0.5, start=0.1, end=0.01),
        lambda t: one_cycle(t, 60, 0.5, 0.1, 0.01),
    ),
}


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_a_schedule_follows_its_closed_form(name, dtype):
    schedule, closed_form = CLOSED_FORMS[name]
    for t in range(TOTAL):
        got = factor(schedule, t, EPOCH, TOTAL, dtype)
        assert got == pytest.approx(closed_form(t), rel=TOLERANCES[dtype], abs=1e-7)


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("warmup", [0.5, 1, 2.5])
def test_warm_up_rises_linearly_to_the_schedule(warmup, dtype):
    for schedule, closed_form in (
        (xpnet.Constant(warmup=warmup), lambda t: 1.0),
        (xpnet.Exponential(warmup=warmup, gamma=0.8), lambda t: 0.8 ** (t / 10)),
    ):
        for t in range(TOTAL):
            expected = min(1.0, (t + 1) / (warmup * EPOCH)) * closed_form(t)
            got = factor(schedule, t, EPOCH, TOTAL, dtype)
            assert got == pytest.approx(expected, rel=TOLERANCES[dtype])


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("epoch_steps", [1, 3, 7, 100, 235, 469])
def test_steps_fall_on_the_first_step_of_an_epoch(epoch_steps, dtype):
    starts = np.arange(1, 60) * epoch_steps
    for t, expected in ((starts, np.arange(1, 60)), (starts - 1, np.arange(59))):
        factors = xpnet.Step(gamma=0.5)(t.astype(dtype), epoch_steps, 60 * epoch_steps)
        np.testing.assert_allclose(-np.log2(factors), expected, rtol=1e-5)


@pytest.mark.parametrize(("every", "epoch_steps", "period"), [(1.1, 50, 55), (2.7, 90, 243)])
def test_steps_fall_where_a_rounded_product_is_a_whole_number(every, epoch_steps, period):
    assert every * epoch_steps > period  # which t / (every * epoch_steps) would miss
    schedule = xpnet.Step(every=every)
    for t in (period - 1, period, 2 * period - 1, 2 * period):
        expected = 0.5 ** (t // period)
        assert factor(schedule, t, epoch_steps, 1000) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("total_steps", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("warmup", [0.0, 1.0, 50.0])
@pytest.mark.parametrize("cls", SCHEDULES.values(), ids=SCHEDULES)
def test_a_very_short_training_has_sane_rates(cls, warmup, total_steps):
    factors = [factor(cls(warmup=warmup), t, 1, total_steps) for t in range(total_steps)]
    assert all(0 <= f <= 1 + 1e-12 for f in factors)
    assert factors[0] > 0  # or the only step of a training would do nothing


def test_without_warm_up_one_step_runs_at_the_full_rate():
    for cls in SCHEDULES.values():
        assert factor(cls(), 0, 1, 1) == 1.0


# ---- PyTorch ---------------------------------------------------------------------------------


def pytorch_factors(make_scheduler, n):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    scheduler = make_scheduler(torch.optim.lr_scheduler, optimizer)
    factors = []
    for i in range(n):
        factors.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if i < n - 1:
            scheduler.step()
    return factors


@pytest.mark.torch
@pytest.mark.parametrize("total", [4, 5, 10, 37, 500])
@pytest.mark.parametrize(
    ("schedule", "arguments"),
    [
        (xpnet.OneCycle(), {}),
        (
            xpnet.OneCycle(rise=0.5, start=0.1, end=0.01),
            {"pct_start": 0.5, "div_factor": 10, "final_div_factor": 10},
        ),
    ],
)
def test_one_cycle_agrees_with_pytorch(schedule, arguments, total):
    expected = pytorch_factors(
        lambda peers, optimizer: peers.OneCycleLR(
            optimizer, max_lr=1.0, total_steps=total, cycle_momentum=False, **arguments
        ),
        total,
    )
    got = [factor(schedule, t, 5, total) for t in range(total)]
    assert got == pytest.approx(expected, rel=1e-11, abs=1e-15)


@pytest.mark.torch
@pytest.mark.parametrize("total", [1, 2, 3, 50])
def test_cosine_agrees_with_pytorch(total):
    expected = pytorch_factors(
        lambda peers, optimizer: peers.CosineAnnealingLR(optimizer, T_max=total), total
    )
    got = [factor(xpnet.Cosine(), t, 5, total) for t in range(total)]
    assert got == pytest.approx(expected, rel=1e-11, abs=1e-15)


@pytest.mark.torch
@pytest.mark.parametrize(
    ("schedule", "make"),
    [
        (xpnet.Step(every=3, gamma=0.4), lambda p, o: p.StepLR(o, step_size=3, gamma=0.4)),
        (xpnet.Exponential(gamma=0.85), lambda p, o: p.ExponentialLR(o, gamma=0.85)),
    ],
    ids=["step", "exponential"],
)
def test_schedules_by_epoch_agree_with_pytorch_at_its_starts(schedule, make):
    expected = pytorch_factors(make, 20)
    got = [factor(schedule, 7 * epoch, 7, 140) for epoch in range(20)]
    assert got == pytest.approx(expected, rel=1e-12)


# ---- senseless hyperparameters ---------------------------------------------------------------

NOT_POSITIVE = [0.0, -0.1, math.nan, math.inf]
NEGATIVE = [-0.1, math.nan, math.inf]
REFUSED = {
    "warmup": NEGATIVE,
    "every": NOT_POSITIVE,
    "gamma": NOT_POSITIVE,
    "rise": [0.0, -0.1, 1.0, 1.5, math.nan, math.inf],
    "start": NEGATIVE,
    "end": NEGATIVE,
}


@pytest.mark.parametrize("cls", [Schedule, *SCHEDULES.values()], ids=lambda cls: cls.__name__)
def test_every_field_refuses_senseless_values(cls):
    for field in dataclasses.fields(cls):
        for value in REFUSED[field.name]:
            with pytest.raises(UsageError):
                cls(**{field.name: value})
