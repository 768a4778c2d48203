"""The contest with made-up contestants and clocks: turns, figures, faults, records, limits."""

import dataclasses
import gc
import importlib.util
import itertools
import json
import os
import pathlib
import platform
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from commands import little_mnist

import xpnet
from xpnet import datasets
from xpnet.backends import Status, peers
from xpnet.bench import contestants, judge, memory, plot, regression, workloads
from xpnet.bench.campaign import campaign
from xpnet.bench.contest import Clock, Outcome, Timing, contest
from xpnet.bench.contestants import Engine, Rival
from xpnet.bench.limit import LIMIT, Product, Products, bytes_per_epoch, products
from xpnet.bench.record import Measured, Record, Setup, environment
from xpnet.bench.standing import Spread, conclusion, standings
from xpnet.bench.sweep import growth
from xpnet.bench.table import memory_table, sweep_table, table
from xpnet.bench.workloads import SWEEPS, WORKLOADS, Workload, scaled
from xpnet.errors import BackendError, DataError, UsageError
from xpnet.ops import Ops

ROOT = pathlib.Path(xpnet.__file__).parent.parent
XOR = scaled(WORKLOADS["tiny"], 0.01)
DIGITS = Workload("digits", (784, 12, 10), "relu", 32, "adamw", 1e-3, 300)


@pytest.fixture(autouse=True)
def little_data(monkeypatch):
    images = little_mnist()
    workloads.samples.cache_clear()
    monkeypatch.setattr(datasets, "mnist", lambda: images)
    monkeypatch.setattr(gc, "collect", lambda: 0)  # a heap with all backends in it takes long
    yield
    workloads.samples.cache_clear()


class Stage:
    """Made-up contestants on a made-up clock: ``seconds[name]`` are those of each epoch in turn."""

    def __init__(self, **seconds):
        self.seconds = {name: list(figures) for name, figures in seconds.items()}
        self.now = 0.0
        self.events = []
        self.clock = Clock(lambda: self.now, lambda: 2 * self.now)

    def build(self, name, workload):
        self.events.append(f"build {name}")
        return Act(self, name)

    def contest(self, workload=XOR, **settings):
        settings = {"judged": False, "rounds": 1, "epochs": 2, **settings}
        return contest(workload, list(self.seconds), build=self.build, clock=self.clock, **settings)


class Act:
    def __init__(self, stage, name):
        self.stage, self.name = stage, name

    def epoch(self):
        self.stage.events.append(self.name)
        assert not gc.isenabled()
        seconds = self.stage.seconds[self.name].pop(0)
        if isinstance(seconds, Exception):
            raise seconds
        self.stage.now += seconds

    def parameters(self):
        return []


# ---- the contest -----------------------------------------------------------------------------


def test_contestants_take_turns_and_every_round_begins_with_another():
    stage = Stage(a=[1] * 4, b=[1] * 4, c=[1] * 4)
    stage.contest(rounds=2)
    assert stage.events == [
        "build a", "build b", "build c", "a", "b", "c", "a", "b", "c",
        "build b", "build c", "build a", "b", "c", "a", "b", "c", "a",
    ]  # fmt: skip


def test_each_epoch_is_timed_on_both_clocks():
    [a, b] = Stage(a=[1, 2, 3, 4], b=[5, 6, 7, 8]).contest(rounds=2)
    assert a.rounds == [[Timing(1, 2), Timing(2, 4)], [Timing(3, 6), Timing(4, 8)]]
    assert b.rounds == [[Timing(5, 10), Timing(6, 12)], [Timing(7, 14), Timing(8, 16)]]


def test_the_garbage_collector_is_on_again():
    Stage(a=[1, MemoryError()]).contest()
    assert gc.isenabled()


@pytest.mark.parametrize("epochs", [0, 1])
def test_one_epoch_says_nothing_about_the_later_ones(epochs):
    with pytest.raises(UsageError, match="epochs must be a whole number >= 2"):
        Stage(a=[1]).contest(epochs=epochs)


def test_who_fails_is_out_with_a_reason_and_the_others_go_on():
    no_room = MemoryError("Unable to allocate 12 TiB")
    stage = Stage(a=[1] * 6, b=[1, 1, 1, no_room], c=[1] * 6)
    a, b, c = stage.contest(rounds=3)
    assert len(a.rounds) == len(c.rounds) == 3
    assert b == Outcome("b", [], failure="MemoryError: Unable to allocate 12 TiB")
    assert stage.events.count("build b") == 2


def test_who_cannot_be_built_is_out():
    a, missing = contest(XOR, ["textbook", "absent"], rounds=1, epochs=2, build=refusing)
    assert a.rounds
    assert missing == Outcome("absent", [], failure="absent is not installed: pip install absent")


def refusing(name, workload):
    if name == "absent":
        raise BackendError("absent is not installed:\n pip install absent")
    return contestants.build(name, workload)


def test_a_reason_holds_no_path():
    error = RuntimeError(f"{ROOT}/tmp/k.cpp:3: no compiler in C:\\Program\\bin and a/b is 3/4")
    [a] = Stage(a=[error]).contest()
    assert a.failure == "RuntimeError: ...:3: no compiler in ... and a/b is 3/4"


# ---- figures ---------------------------------------------------------------------------------


def outcomes_of(**seconds):
    """Outcomes whose rounds have these CPU seconds; those on the wall are ten times as many."""
    return [
        Outcome(name, [[Timing(s, 10 * s) for s in epochs] for epochs in rounds])
        for name, rounds in seconds.items()
    ]


ROUNDS = {
    LIMIT: [[1, 1, 1], [2, 2, 2], [1, 1, 1]],
    "xpnet-numpy": [[9, 2, 4], [9, 5, 5], [8, 2, 2]],  # later 3, 5, 2; to the limit 3, 2.5, 2
    "slow": [[1, 6, 6], [2, 10, 10], [1, 10, 10]],  # later 6, 10, 10
}


def test_medians_and_ratios_by_hand():
    limit, ours, slow = standings(XOR, outcomes_of(**ROUNDS))
    assert (limit.name, ours.name, slow.name) == tuple(ROUNDS)
    assert ours.first == Spread(9, 8, 9)
    assert ours.later == Spread(3, 2, 5)
    assert ours.wall == Spread(30, 20, 50)
    assert ours.samples_per_second == XOR.samples / 3
    assert ours.to_limit == Spread(2.5, 2, 3)  # not 3 / 1, the ratio of the medians
    assert slow.to_fastest == Spread(2, 2, 5)
    assert ours.to_fastest == Spread(1, 1, 1)
    assert (ours.ours, slow.ours) == (True, False)


def test_with_several_threads_the_wall_counts():
    outcomes = outcomes_of(**ROUNDS)
    turned = [
        o._replace(rounds=[[Timing(t.wall, 1 / t.wall) for t in r] for r in o.rounds])
        for o in outcomes
    ]
    assert [s.name for s in standings(XOR, turned, "cpu")][1:] == ["xpnet-numpy", "slow"]
    assert [s.name for s in standings(XOR, turned, "wall")][1:] == ["slow", "xpnet-numpy"]


def test_without_a_limit_there_is_no_ratio_to_it():
    [alone] = standings(XOR, outcomes_of(a=[[1, 2]]))
    assert alone.to_limit is None
    assert alone.to_fastest == Spread(1, 1, 1)


def test_the_conclusion_says_who_won_whoever_it_is():
    def verdict(**rounds):
        return conclusion(standings(XOR, outcomes_of(**rounds)))

    ours = {"xpnet-numpy": [[1, 2]], "xpnet-slow": [[1, 9]]}
    assert verdict(**ours, b=[[1, 3]]) == (
        "xpnet-numpy wins: b, the best of the others, takes 1.50 times as long"
    )
    assert verdict(**ours, b=[[1, 1]], c=[[1, 1.5]]) == (
        "b wins: xpnet-numpy, the best of xpnet, takes 2.00 times as long"
    )
    assert verdict(b=[[1, 1]]) == ("b is the fastest; there was no other to compare it with")
    assert verdict(products=[[1, 1]]) == "nobody is ranked"


def test_another_loss_at_the_end_is_other_work():
    outcomes = [
        o._replace(loss=loss)
        for o, loss in zip(
            outcomes_of(a=[[1, 1]], b=[[1, 2]], c=[[1, 3]]), (0.7, 0.1, 0.12), strict=True
        )
    ]
    *ranking, last = standings(XOR, outcomes)
    assert [s.name for s in ranking] == ["b", "c"]
    assert last.remark == "did other work: its loss ends at 0.7, the others' at 0.12"
    nan = [outcomes[0]._replace(loss=float("nan")), *outcomes[1:]]
    assert standings(XOR, nan)[-1].name == "a"


# ---- who did other work ----------------------------------------------------------------------


class Lazy(Rival):
    """Faster, because the last batch, smaller than the others, is left out."""

    def epoch(self):
        order = next(self.orders)
        m = self.workload.batch_size
        self.peer.epoch(order[: len(order) // m * m])


class Stubborn(Rival):
    """Faster, because every epoch takes the order of the first."""

    def epoch(self):
        self.peer.epoch(self.workload.order(0))


class Coarse(Rival):
    """Faster, because the batches are larger."""

    def __init__(self, workload, name):
        super().__init__(dataclasses.replace(workload, batch_size=2 * workload.batch_size), name)


class Forgetful(Rival):
    """Faster, because no bias is learned."""

    def epoch(self):
        super().epoch()
        for b in self.peer.bs:
            b[...] = 0


PLANTED = [Lazy, Stubborn, Coarse, Forgetful]


def with_workload(cls):
    def build(workload):
        contestant = cls(workload, "textbook")
        contestant.workload = workload
        return contestant

    return build


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adamw"])
def test_the_honest_pass_and_each_planted_fault_is_noticed(optimizer):
    lr = {"sgd": 0.1, "momentum": 0.05, "adamw": 1e-3}[optimizer]
    workload = dataclasses.replace(DIGITS, optimizer=optimizer, lr=lr)
    cast = {cls.__name__: with_workload(cls) for cls in PLANTED}
    honest = ["xpnet-numpy", "xpnet-numpy-reference", "textbook"]

    def build(name, workload):
        return cast[name](workload) if name in cast else contestants.build(name, workload)

    ranking = standings(
        workload, contest(workload, [*honest, *cast], rounds=1, epochs=2, build=build)
    )
    remarks = {s.name: s.remark for s in ranking}
    assert {name for name, remark in remarks.items() if not remark} == set(honest)
    assert all("did other work: after the first steps" in remarks[name] for name in cast)
    assert max(s.deviation for s in ranking if not s.remark) < 1e-4


@pytest.mark.parametrize("workload", WORKLOADS.values(), ids=lambda w: w.name)
def test_the_judge_agrees_with_the_engine_in_float64(workload):
    n_in, *widths = workload.widths
    narrow = (n_in, *(min(width, 64) for width in widths))
    part = judge.short(dataclasses.replace(workload, n=300, widths=narrow))
    hp = dataclasses.replace(part.hyperparameters(), dtype="float64")
    network = part.network()
    runs = xpnet.train.segments(
        network, part.dataset(), hp=hp, backend=xpnet.backends.get("numpy"), reference=True
    )
    for _ in range(judge.EPOCHS * part.passes):
        while (run := next(runs)).step:
            pass
    found = [(p["W"], p["b"]) for p in network.split(np, run.theta)]
    true = judge.true_parameters(part)
    assert judge.deviation(part, found, true) < 1e-9
    assert judge.deviation(part, part.initial(), true) == 1.0
    evaluation = xpnet.evaluate(network, run.theta, part.dataset(), loss=hp.loss)
    assert judge.mean_loss(part, found) == pytest.approx(evaluation.loss, rel=1e-9)


def test_the_truth_about_a_workload_is_computed_once(monkeypatch):
    computed, compute = [], judge.true_parameters
    monkeypatch.setattr(judge, "true_parameters", lambda w: computed.append(w) or compute(w))
    judge.truth.cache_clear()
    part = dataclasses.replace(XOR, n=10)
    for workload in (part, dataclasses.replace(part), dataclasses.replace(part, lr=0.25)):
        true, initial = judge.truth(workload)
        assert judge.deviation(workload, compute(workload), true, initial) == 0
    assert [w.lr for w in computed] == [part.lr, 0.25]


def test_short_is_short_but_has_a_smaller_batch():
    for workload in WORKLOADS.values():
        part = judge.short(workload)
        assert part.n <= 1344
        whole = workload.batch_size >= workload.n
        assert (len(part.batches) == 1) == whole
        assert whole or workload.batch_size == 1 or part.batches[-1] < part.batches[0]


# ---- contestants -----------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["numpy", "array-api-strict"])
def test_an_epoch_is_all_passes_over_all_samples(backend):
    part = dataclasses.replace(XOR, n=10, passes=3)
    engine = Engine(part, xpnet.backends.get(backend))
    engine.epoch()
    assert engine.run.epoch == 3
    assert int(np.asarray(engine.backend.to_numpy(engine.run.state.counters.t))[0]) == 9
    engine.epoch()
    rival = Rival(part, "textbook")
    rival.epoch()
    rival.epoch()
    for (W, b), (theirs, c) in zip(engine.parameters(), rival.parameters(), strict=True):
        assert np.allclose(W, theirs, atol=1e-5)
        assert np.allclose(b, c, atol=1e-5)
    assert not np.allclose(engine.parameters()[0][0], part.initial()[0][0], atol=1e-3)


def test_nothing_is_learned_while_building():
    for name in ("xpnet-numpy", "textbook"):
        contestant = contestants.build(name, DIGITS)
        contestant.epoch()
        again = contestants.build(name, DIGITS)
        again.epoch()
        for (W, _), (V, _) in zip(contestant.parameters(), again.parameters(), strict=True):
            assert (W == V).all()


def test_names_are_those_installed_here(monkeypatch):
    usable = [Status(name, name != "cupy", "cpu", "1.0", "") for name in xpnet.backends.BACKENDS]
    monkeypatch.setattr(xpnet.backends, "available", lambda: usable)
    names = contestants.names()
    assert "xpnet-cupy" not in names
    assert {"xpnet-numpy", "textbook"} <= set(names) <= set(contestants.entrants())
    assert LIMIT not in names
    assert "xpnet-array-api-strict" not in names


def test_more_samples_than_there_are_is_refused():
    with pytest.raises(UsageError, match="300 training images"):
        dataclasses.replace(DIGITS, n=301).dataset()


# ---- the limit -------------------------------------------------------------------------------


class Spy(np.ndarray):
    """Arrays that write down the matrix products that are made with them."""

    seen = None

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        plain = [np.asarray(x) for x in inputs]
        if ufunc is np.matmul:
            Spy.seen.append(tuple(x.shape for x in plain))
        result = getattr(ufunc, method)(*plain, **kwargs)
        return result.view(Spy) if isinstance(result, np.ndarray) else result


def products_of_the_network(network, m, loss, target):
    Spy.seen = []
    theta = network.init(0).view(Spy)
    x = np.ones((m, network.n_in), np.float32)
    network.loss_and_grad(Ops(np), theta, x, target, loss)
    return sorted(Spy.seen)


@pytest.mark.parametrize("m", [1, 6])
def test_the_limit_is_the_products_of_the_network(m):
    network = xpnet.mlp(7, 5, 4, 3)
    target = np.zeros(m, np.int32)
    seen = products_of_the_network(network, m, xpnet.SoftmaxCrossEntropy(), target)
    ours = list(products((7, 5, 4, 3), m))
    assert sorted((p.A.shape, p.B.shape) for p in ours) == seen
    fewer = [p for p in ours if p.what != "dx2"]
    assert sorted((p.A.shape, p.B.shape) for p in fewer) != seen
    assert [p.what for p in ours] == ["y1", "y2", "y3", "dW3", "dx3", "dW2", "dx2", "dW1"]


@pytest.mark.parametrize("m", [1, 6])
def test_the_limit_has_the_flops_of_the_formula_and_computes_them(m):
    widths = (7, 5, 4, 3)
    pairs = list(itertools.pairwise(widths))
    formula = 2 * m * (3 * sum(a * b for a, b in pairs) - widths[0] * widths[1])
    assert sum(p.flops for p in products(widths, m)) == formula
    for p in products(widths, m):
        p.call()()
        assert np.allclose(p.C, p.A @ p.B)


def test_an_epoch_of_the_limit_has_all_steps(monkeypatch):
    calls = []
    monkeypatch.setattr(Product, "call", lambda p: lambda: calls.append((p.what, len(p.C))))
    limit = Products(dataclasses.replace(DIGITS, n=70, passes=2))
    calls.clear()
    limit.epoch()
    assert [m for what, m in calls if what == "y1"] == [32, 32, 6, 32, 32, 6]
    assert len(calls) == 6 * 5


def test_bytes_that_must_move_by_hand():
    """2-6-1 with batches of 4: P = 25 parameters, 18 of them in the first layer."""
    part = dataclasses.replace(XOR, n=8, optimizer="adamw", passes=3)
    moved = bytes_per_epoch(part)
    steps = 3 * 2
    assert moved.weights == steps * 4 * (4 * 25 - 18)
    assert moved.gradient == steps * 4 * 2 * 25
    assert moved.slots == steps * 4 * 2 * 2 * 25
    assert moved.data == 3 * 8 * (8 + 4 + 4 * 3 * 2)
    assert moved.activations == 3 * 8 * 4 * (7 * 6 + 5)
    assert moved.total == sum(moved)


# ---- memory ----------------------------------------------------------------------------------


def test_the_bound_of_memory_by_hand():
    part = dataclasses.replace(XOR, n=8, optimizer="adamw")
    data = 8 * 2 * 4 + 8 * 4
    assert memory.bound(part) == 4 * (3 * 25 + 2 * 4 * (2 + 6 + 1)) + data
    whole = dataclasses.replace(DIGITS, optimizer="sgd", batch_size=10**6)
    P = 784 * 12 + 12 + 12 * 10 + 10
    assert memory.bound(whole) == 4 * (P + 2 * 300 * 806) + 300 * 784 + 300


PEAKS = """
import dataclasses, json
import numpy as np
from xpnet.bench import memory
from xpnet.bench.workloads import WORKLOADS, scaled
part = scaled(WORKLOADS["tiny"], 0.01)
honest = memory.measure("textbook", part)
build = memory.build
memory.build = lambda name, workload: (build(name, workload), np.ones(8 * 10**6))[0]
print(json.dumps([honest, memory.measure("textbook", part)]))
"""


@pytest.mark.skipif(os.name != "posix", reason="Windows does not tell")
def test_the_peak_of_a_hungry_contestant_is_seen():
    out = subprocess.run([sys.executable, "-c", PEAKS], capture_output=True, check=True).stdout
    honest, hungry = json.loads(out)
    assert honest < 30e6
    assert 60e6 < hungry < 100e6


def test_each_contestant_has_a_process_of_its_own(monkeypatch):
    tasks = []

    def run(command, **settings):
        tasks.append((command[1:], json.loads(settings["input"])["name"]))
        done = len(tasks) == 1
        return subprocess.CompletedProcess(command, 0 if done else 137, "noise\n123\n")

    monkeypatch.setattr(memory.subprocess, "run", run)
    assert memory.peak("a", XOR) == 123
    assert memory.peak("b", XOR) == "failed with exit code 137"
    assert tasks == [(["-m", "xpnet.bench.memory"], "a"), (["-m", "xpnet.bench.memory"], "b")]


# ---- the record ------------------------------------------------------------------------------

SETUP = Setup(("a", "b"), 2, 2, 1, "cpu")
POINTS = [XOR, dataclasses.replace(XOR, name="other")]


def recorded(folder, stage, *, setup=SETUP, resume=False, points=POINTS, **settings):
    record = Record(folder, setup, resume=resume)
    return list(
        campaign(record, points, judged=False, build=stage.build, clock=stage.clock, **settings)
    )


def test_what_is_measured_survives_an_interruption(tmp_path):
    stage = Stage(a=[1] * 8, b=[2, 2, 2, 2, 2, KeyboardInterrupt()])
    stage.seconds["b"][5] = Interrupt()
    with pytest.raises(KeyboardInterrupt):
        recorded(tmp_path, stage)
    again = Stage(a=[3] * 4, b=[4] * 4)
    first, second = recorded(tmp_path, again, resume=True)
    assert [o.rounds[0][0].cpu for o in first.outcomes] == [1, 2]
    assert [o.rounds[0][0].cpu for o in second.outcomes] == [3, 4]
    assert again.events.count("build a") == 2
    third = Stage(a=[], b=[])
    assert recorded(tmp_path, third, resume=True) == [first, second]
    assert third.events == []


class Interrupt(float):
    """Seconds that nobody waits for."""

    def __radd__(self, other):
        raise KeyboardInterrupt


def test_a_record_is_neither_overwritten_nor_mixed(tmp_path):
    recorded(tmp_path, Stage(a=[1] * 8, b=[1] * 8))
    with pytest.raises(UsageError, match="there already"):
        recorded(tmp_path, Stage())
    with pytest.raises(UsageError, match="measured with rounds 2, not 5"):
        recorded(tmp_path, Stage(), setup=SETUP._replace(rounds=5), resume=True)
    (tmp_path / "results.json").write_text('{"setup": {}}')
    with pytest.raises(DataError, match="no results of this version"):
        recorded(tmp_path, Stage(), resume=True)


def test_memory_is_on_record(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "peak", lambda name, workload: 10**9 if name == "b" else 10**7)
    measured, *_ = recorded(tmp_path, Stage(a=[1] * 8, b=[1] * 8), with_memory=True)
    text = "\n".join(memory_table(measured))
    assert "a             10    +10     within 100 MB" in text
    assert "b           1000  +1000  MORE THAN 100 MB" in text
    assert recorded(tmp_path, Stage(), resume=True)[0] == measured


def private(text):
    """What of this machine's own a text gives away."""
    secrets = [str(ROOT), str(pathlib.Path.home()) + "/", platform.node(), sys.executable]
    return [secret for secret in secrets if len(secret) > 3 and secret in text]


def test_a_secret_is_noticed():
    assert private(f"measured on {platform.node()} in {ROOT}")


def test_the_environment_names_versions_and_no_host():
    facts = environment(1)
    assert facts["versions"]["numpy"] == np.__version__
    assert facts["threads"] == 1
    assert private(json.dumps(facts)) == []


# ---- tables and pictures ---------------------------------------------------------------------


def measured_of(workload, outcomes):
    return Measured(workload, outcomes, bytes_per_epoch(workload), 1e9)


def sweep_points():
    """Every batch costs 10 seconds, at each size of both sweeps."""
    points = {}
    for sizes in SWEEPS.values():
        for w in sizes:
            outcomes = outcomes_of(products=[[1, 5]], a=[[1, 10.0 * len(w.batches)]])
            points[w.name] = Measured(w, outcomes, bytes_per_epoch(XOR), 1e9)
    return points


def test_tables_say_who_is_where_and_who_is_not():
    outcomes = [*outcomes_of(**ROUNDS), Outcome("c", [], failure="c is not installed")]
    lines = table(measured_of(XOR, outcomes), "cpu")
    assert lines[0] == "tiny: 2-6-1 sigmoid, batch 4, sgd, 80 samples an epoch"
    assert [line.split()[0] for line in lines[3:6]] == list(ROUNDS)
    assert lines[4].split()[1:5] == ["9", "3", "2", "5"]
    assert "c is not ranked: c is not installed" in lines
    assert lines[-1].startswith("xpnet-numpy wins")


def test_growth_is_the_cost_of_a_sample():
    costs = growth("batch", sweep_points(), "cpu")
    assert [size for size, _ in costs["a"]] == [2**k for k in range(14)]
    for size, microseconds in costs["a"]:
        assert microseconds == pytest.approx(1e7 / size)
    lines = sweep_table("width", sweep_points(), "cpu")
    assert lines[1].split() == ["parameters", "products", "a"]
    assert lines[2].split()[0] == f"{784 * 16 + 16 + 16 * 16 + 16 + 160 + 10:,}"
    assert len(lines) == 2 + len(SWEEPS["width"])


PNG = b"\x89PNG"


def test_pictures_are_drawn(tmp_path):
    entries = [measured_of(w, outcomes_of(**ROUNDS)) for w in (*POINTS, XOR)]
    plot.plot_workloads(entries, "cpu", "somewhere", tmp_path / "plot.png")
    plot.plot_sweeps(sweep_points(), "cpu", "somewhere", tmp_path / "sweeps.png")
    for name in ("plot.png", "sweeps.png"):
        assert (tmp_path / name).read_bytes()[:4] == PNG


def test_pictures_that_cannot_be_drawn_are_refused_beforehand(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="what kind of picture"):
        plot.check_plot(tmp_path / "plot.xyz")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UsageError, match=r"pip install 'xpnet\[plot\]'"):
        plot.check_plot(tmp_path / "plot.png")


# ---- the regression check --------------------------------------------------------------------

CEILINGS = {"tiny": {"xpnet-numpy": 2.0}}


def checked(ours, limit=1):
    n = regression.ROUNDS * regression.EPOCHS * 2
    stage = Stage(**{LIMIT: [limit] * n, "xpnet-numpy": list(ours)})
    said = []

    def check():
        return regression.check(
            CEILINGS, build=stage.build, clock=stage.clock, judged=False, say=said.append
        )

    return check(), said


N = regression.ROUNDS * regression.EPOCHS


def test_below_the_ceiling_passes():
    [verdict], said = checked([1.9] * N)
    assert verdict.passed
    assert len(said) == 1
    assert str(verdict) == (
        "tiny: xpnet-numpy takes 1.90 times as long as the matrix products alone, "
        "at most 2 allowed: passes"
    )


def test_an_epoch_done_twice_is_noticed():
    """The planted slowdown."""
    [verdict], said = checked([2 * 1.9] * 2 * N)
    assert not verdict.passed
    assert verdict.ratio == pytest.approx(3.8)
    assert "FAILS (second attempt)" in said[-1]


def test_a_slow_machine_is_no_slowdown():
    [verdict], _ = checked([190] * N, limit=100)
    assert verdict.passed


def test_a_disturbance_is_forgiven_once():
    [verdict], said = checked([9] * N + [1.9] * N)
    assert verdict.passed
    assert len(said) == 2


def test_a_contestant_that_fails_does_not_pass():
    [verdict], _ = checked([ValueError("broken"), ValueError("broken")])
    assert not verdict.passed
    assert str(verdict) == "tiny: xpnet-numpy was not measured: ValueError: broken"


# ---- bench/run.py ----------------------------------------------------------------------------


@pytest.fixture
def run(monkeypatch):
    """The script, run in this process."""
    path = ROOT / "bench" / "run.py"
    if not path.exists():
        pytest.skip("runs in a checkout, not in an installation")
    spec = importlib.util.spec_from_file_location("bench_run", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.setattr(peers, "thread_environment", lambda n: {})
    monkeypatch.setattr(sys, "argv", ["run.py"])

    def run(*arguments):
        return CliRunner().invoke(script.main, list(map(str, arguments)))

    run.script = script
    return run


def test_the_script_keeps_a_whole_record(run, tmp_path):
    out = tmp_path / "record"
    arguments = ["--workloads", "tiny", "--contestants", "xpnet-numpy,textbook", "--quick"]
    result = run(*arguments, "--epochs", 2, "--out", out)
    assert result.exit_code == 0, result.output
    names = ["environment.json", "log.txt", "plot.png", "results.json"]
    assert sorted(path.name for path in out.iterdir()) == names
    texts = "".join((out / name).read_text() for name in names if not name.endswith(".png"))
    assert private(texts) == []
    assert str(tmp_path) not in texts
    assert "tiny: 2-6-1 sigmoid, batch 4, sgd, 800 samples an epoch" in texts
    assert " wins: " in (out / "log.txt").read_text()
    again = run(*arguments, "--epochs", 2, "--out", out)
    assert again.exit_code == 1
    assert "there already" in again.output
    assert run(*arguments, "--epochs", 2, "--out", out, "--resume").exit_code == 0


def test_the_command_on_record_names_no_folder(run, monkeypatch):
    words = ["run.py", "--quick", "--out", "/home/me/x", "--resume", "--out=/home/me/y"]
    monkeypatch.setattr(sys, "argv", words)
    assert run.script.command_line() == "python bench/run.py --quick"


def test_threads_are_pinned_before_anything_is_loaded(run, monkeypatch):
    started = []
    monkeypatch.setattr(peers, "thread_environment", lambda n: {"BENCH_THREADS": str(n)})
    monkeypatch.setattr(
        run.script.subprocess, "call", lambda command, env: started.append((command, env)) or 7
    )
    monkeypatch.setattr(sys, "argv", ["bench/run.py", "--threads", "3"])
    assert run("--threads", 3).exit_code == 7
    [(command, env)] = started
    assert command[1:] == ["bench/run.py", "--threads", "3"]
    assert env["BENCH_THREADS"] == "3"


def test_the_regression_check_ends_with_1_and_one_line(run, monkeypatch):
    bad = regression.Verdict("tiny", "xpnet-numpy", 9.0, 2.0)
    good = bad._replace(ratio=1.0)
    monkeypatch.setattr(run.script, "check", lambda ceilings, say: [good, bad])
    result = run("--check")
    assert result.exit_code == 1
    assert result.output.splitlines() == [f"Error: {bad}"]
    given = []
    monkeypatch.setattr(run.script, "check", lambda ceilings, say: given.append(ceilings) or [good])
    monkeypatch.setattr(contestants, "installed", lambda name: name == "xpnet-numpy")
    assert run("--check").exit_code == 0
    assert [list(names) for names in given[0].values()] == [["xpnet-numpy"]] * 3


def test_what_is_installed_is_known_without_loading_it(monkeypatch):
    assert contestants.installed("xpnet-numpy")
    assert contestants.installed("textbook")
    missing = xpnet.backends.BACKENDS["cupy"]._replace(package="nosuchpackage")
    monkeypatch.setitem(xpnet.backends.BACKENDS, "cupy", missing)
    assert not contestants.installed("xpnet-cupy")


def test_the_ceilings_are_of_workloads_that_are_there(run):
    ceilings = json.loads((ROOT / "bench" / "ceilings.json").read_text())
    assert set(ceilings) == {"classic-adamw", "classic-momentum", "online"}
    for names in ceilings.values():
        assert set(names) <= set(contestants.entrants())
        assert "xpnet-numpy" in names
