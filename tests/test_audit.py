"""audit: what does this training step really do? On steps written here, right and wrong."""

import numpy as np
import pytest

from xpnet.errors import DataError, UsageError
from xpnet.mistakes import audit

LR, MU = 0.1, 0.9


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


class Net:
    """6-5-3 with tanh and softmax, trained by a rule of somebody's own."""

    def __init__(self, rule="sgd", sign=1.0):
        rng = np.random.default_rng(1)
        self.p = {
            "W1": 0.5 * rng.normal(size=(6, 5)),
            "b1": 0.1 * rng.normal(size=5),
            "W2": 0.5 * rng.normal(size=(5, 3)),
            "b2": 0.1 * rng.normal(size=3),
        }
        self.rule, self.sign, self.t = getattr(self, rule), sign, 0
        self.v = {name: np.zeros_like(a) for name, a in self.p.items()}
        self.s = {name: np.zeros_like(a) for name, a in self.p.items()}

    def params(self):
        return self.p

    def hidden(self, x):
        return np.tanh(x @ self.p["W1"] + self.p["b1"])

    def forward(self, x):
        return softmax(self.hidden(x) @ self.p["W2"] + self.p["b2"])

    def grads(self, x, y):
        H = self.hidden(x)
        delta = self.sign * (self.forward(x) - np.eye(3)[y]) / len(x)
        dz = (delta @ self.p["W2"].T) * (1 - H * H)
        return {
            "W2": H.T @ delta, "b2": delta.sum(axis=0), "W1": x.T @ dz, "b1": dz.sum(axis=0),
        }  # fmt: skip

    def step(self, x, y):
        self.t += 1
        for name, g in self.grads(x, y).items():
            self.p[name] = self.rule(name, self.p[name], g)

    def sgd(self, name, w, g):
        return w - LR * g

    def momentum(self, name, w, g):
        self.v[name] = MU * self.v[name] - LR * g
        return w + self.v[name]

    def averaged_momentum(self, name, w, g):
        self.v[name] = MU * self.v[name] + (1 - MU) * g
        return w - LR * self.v[name]

    def never_zeroed(self, name, w, g):
        self.v[name] += g
        return w - LR * self.v[name]

    def against_its_velocity(self, name, w, g):
        self.v[name] = LR * g - MU * self.v[name]
        return w - self.v[name]

    def drops_units(self, name, w, g):
        return w - LR * g * np.random.default_rng(self.t).integers(0, 3, g.shape)

    def nesterov(self, name, w, g):
        self.v[name] = MU * self.v[name] - LR * g
        return w + MU * self.v[name] - LR * g

    def fake_momentum(self, name, w, g):
        w = w - LR * g
        return -LR * g + MU * w

    def weight_decay(self, name, w, g):
        return w - LR * (g + 0.01 * w * (name[0] == "W"))

    def adam(self, name, w, g):
        self.v[name] = 0.9 * self.v[name] + 0.1 * g
        self.s[name] = 0.999 * self.s[name] + 0.001 * g * g
        m, s = self.v[name] / (1 - 0.9**self.t), self.s[name] / (1 - 0.999**self.t)
        return w - LR * m / (np.sqrt(s) + 1e-8)

    def in_a_copy(self, name, w, g):
        w = w.copy()
        moved = w - LR * g
        assert moved is not w
        return self.p[name]

    def weights_only(self, name, w, g):
        return w - LR * g if name[0] == "W" else w


def data(n=20):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 6)), rng.integers(0, 3, n)


def audited(net, **options):
    x, y = data()
    declared = {"activation": "tanh", "reduction": "mean"} | options
    return audit(net.step, net.params, x, y, **declared)


@pytest.mark.parametrize("batch_size", [None, 5])
@pytest.mark.parametrize("lr", [None, LR])
@pytest.mark.parametrize(("rule", "mu"), [("sgd", None), ("momentum", MU), ("nesterov", MU)])
def test_right_rules_are_right(rule, mu, lr, batch_size):
    found = audited(Net(rule), lr=lr, batch_size=batch_size)
    assert found.correct
    assert found.names == ()
    if rule == "nesterov" and lr is None:  # the first step is 1 + mu times the gradient
        assert found.rule.name == "momentum"
        return
    assert found.rule.name == rule
    assert found.rule.mu == (None if mu is None else pytest.approx(mu, rel=1e-6))


def test_an_average_of_gradients_is_a_momentum():
    found = audited(Net("averaged_momentum"), lr=LR)
    assert (found.rule.name, found.names, found.correct) == ("averaged-momentum", (), True)
    assert found.rule.mu == pytest.approx(MU, rel=1e-6)
    assert audited(Net("averaged_momentum")).correct
    wrong = audited(Net("averaged_momentum", sign=-1.0), lr=LR)
    assert (wrong.rule.name, wrong.names) == ("averaged-momentum", ("negated",))
    other_rate = audited(Net("averaged_momentum", sign=0.37), lr=LR)
    assert "another-learning-rate" in other_rate.names


@pytest.mark.parametrize("lr", [None, LR])
@pytest.mark.parametrize(
    ("rule", "named"),
    [
        ("never_zeroed", "gradients-never-zeroed"),
        ("against_its_velocity", "momentum-out-of-range"),
    ],
)
def test_a_momentum_that_is_none(rule, named, lr):
    found = audited(Net(rule), lr=lr, batch_size=5)
    assert found.names == (named,)
    assert not found.correct


def test_a_step_that_nothing_explains_has_no_rule():
    found = audited(Net("drops_units"), lr=LR)
    assert (found.rule.name, found.names) == ("unknown", ("unexplained",))
    assert "nothing known explains the first step" in str(found)


@pytest.mark.parametrize("rule", ["sgd", "momentum", "nesterov", "fake_momentum"])
def test_a_flipped_sign_is_seen_through_every_rule(rule):
    found = audited(Net(rule, sign=-1.0), lr=LR)
    assert "negated" in found.names
    assert {f.verdict for f in found.gradients.gradients.values()} == {"negated"}


@pytest.mark.parametrize("rule", ["sgd", "momentum", "nesterov", "fake_momentum"])
def test_a_sum_for_a_mean_is_seen_where_the_learning_rate_is_given(rule):
    found = audited(Net(rule, sign=5.0), lr=LR, batch_size=5)
    assert {f.verdict for f in found.gradients.gradients.values()} == {"summed-not-averaged"}
    open_rate = audited(Net(rule, sign=5.0), batch_size=5)
    assert open_rate.gradients.correct


@pytest.mark.parametrize("lr", [None, LR])
def test_decay_posing_as_momentum(lr):
    found = audited(Net("fake_momentum"), lr=lr)
    assert found.rule.name == "decay-posing-as-momentum"
    assert found.rule.mu == pytest.approx(MU, rel=1e-6)
    assert found.names == ("decay-posing-as-momentum",)
    assert found.gradients.correct
    assert not found.correct


def test_weight_decay_is_no_momentum():
    found = audited(Net("weight_decay"), lr=LR)
    assert found.rule.name == "sgd"
    assert found.names == ("undeclared-l2",)
    assert audited(Net("weight_decay"), lr=LR, l2=0.01).correct


def test_adam_keeps_only_signs_and_these_are_checked():
    found = audited(Net("adam"), lr=LR)
    assert (found.rule.name, found.gradients, found.names) == ("sign-like", None, ())
    assert "check them with xpnet explain" in str(found)
    assert audited(Net("adam", sign=-1.0), lr=LR).names == ("wrong-signs",)


def test_parameters_that_change_in_a_copy():
    net = Net("in_a_copy")
    found = audited(net, forward=net.forward)
    assert found.names == ("parameters-never-change",)
    assert found.rule.name == "none"


def test_parameters_that_are_shadowed():
    """forward reads one set, the step writes another; the gradients of that one are followed."""

    class Shadowed(Net):
        def step(self, x, y):
            for name, g in self.grads(x, y).items():
                self.other[name] = self.other[name] - LR * g

    net = Shadowed()
    net.other = {name: a.copy() for name, a in net.p.items()}
    found = audited(net, written=lambda: net.other, forward=net.forward, lr=LR)
    assert found.names == ("parameters-never-change",)
    assert "while those it writes do" in found.remarks[0].evidence
    assert found.gradients.correct


def test_biases_that_never_train():
    found = audited(Net("weights_only"), lr=LR)
    assert set(found.names) == {"some-parameters-never-change", "missing"}
    assert "b1, b2 did not change" in found.remarks[0].evidence


@pytest.mark.parametrize("shift", [1.0, -1.0])
def test_train_and_predict_that_differ(shift):
    net = Net()

    def predict(x):
        H = np.tanh(x @ net.p["W1"] + net.p["b1"] + shift)
        return H @ net.p["W2"] + net.p["b2"] + shift

    def forward(x):
        return net.hidden(x) @ net.p["W2"] + net.p["b2"]

    found = audited(net, forward=forward, predict=predict, loss="mse")
    assert "train-and-predict-differ" in found.names
    remark = next(r for r in found.remarks if r.name == "train-and-predict-differ")
    assert f"it adds {shift:+g} to every pre-activation" in remark.evidence
    assert "train-and-predict-differ" not in audited(Net(), forward=net.forward).names


def test_a_forward_that_is_another_network_than_declared():
    net = Net()
    found = audited(net, activation="sigmoid", forward=net.forward)
    assert "forward-is-another-network" in found.names


def test_outputs_that_never_change():
    net = Net()
    before = {name: a.copy() for name, a in net.p.items()}

    def fixed(x):
        return softmax(np.tanh(x @ before["W1"] + before["b1"]) @ before["W2"] + before["b2"])

    assert "outputs-never-change" in audited(net, forward=fixed).names


def test_best_weights_that_are_an_alias():
    net = Net()
    arrays = net.p

    def step(x, y):
        for name, g in net.grads(x, y).items():
            arrays[name] -= LR * g

    x, y = data()
    best = dict(arrays)
    found = audit(step, net.params, x, y, kept=lambda: best, activation="tanh")
    assert found.names == ("best-is-an-alias",)
    net = Net()
    copies = {name: a.copy() for name, a in net.p.items()}
    assert audited(net, kept=lambda: copies).correct


def test_a_step_that_overwrites_its_data():
    net = Net()

    def step(x, y):
        net.step(x, y)
        x *= 0.5

    x, y = data()
    found = audit(step, net.params, x, y, activation="tanh")
    assert found.names == ("step-changes-the-data",)


def test_activations_cached_from_another_sample():
    """Batch 1: the step uses the hidden layer of the first sample, whatever it is given."""
    net = Net()
    x, y = data()

    def step(x1, y1):
        grads = net.grads(x1, y1)
        delta = net.forward(x1) - np.eye(3)[y1]
        grads["W2"] = net.hidden(x[:1]).T @ delta
        for name, g in grads.items():
            net.p[name] = net.p[name] - LR * g

    found = audit(step, net.params, x, y, activation="tanh", lr=LR, reduction="mean", batch_size=1)
    assert found.gradients.gradients["dW2"].verdict == "stale-activations"
    assert "of an earlier sample" in found.gradients.gradients["dW2"].formula
    assert found.gradients.gradients["dW1"].verdict == "correct"


def test_an_audit_reads_as_text():
    text = str(audited(Net("fake_momentum", sign=-1.0), lr=LR))
    assert "update  decay-posing-as-momentum: W = mu * W - (1 + mu) * lr * dW" in text
    assert "dW2  negated" in text


# ---- bad input ---------------------------------------------------------------------------------


def test_a_step_that_raises_is_reported_in_one_line():
    def step(x, y):
        raise ValueError("shapes (3,4) and (5,6) not aligned\nmore")

    x, y = data()
    with pytest.raises(UsageError, match=r"your step raised ValueError: shapes .* \(step 1, 20"):
        audit(step, Net().params, x, y, activation="tanh")


def test_parameters_that_a_step_spoils_are_named_with_the_step():
    net = Net()

    def step(x, y):
        net.step(x, y)
        net.p["b2"] = net.p["b2"] * (np.nan if net.t == 2 else 1.0)

    x, y = data()
    with pytest.raises(DataError, match=r"^after step 2 of yours b2 holds nan at \[0\]"):
        audit(step, net.params, x, y, activation="tanh")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (lambda: {"weights": np.zeros((6, 5))}, "your parameters are called weights"),
        (list, "your parameters are called nothing"),
        (lambda: {"W1": np.full((6, 3), np.nan)}, "W1 holds nan"),
        (lambda: {"W1": np.zeros((7, 3))}, "do not fit together"),
        (lambda: [np.zeros((6, 3)), np.ones(4)], "b1 of shape"),
    ],
)
def test_parameters_that_are_none_are_refused(params, message):
    x, y = data()
    with pytest.raises(DataError, match=message):
        audit(lambda x, y: None, params, x, y, activation="tanh")


@pytest.mark.parametrize(
    "options", [{"lr": 0.0}, {"lr": float("nan")}, {"batch_size": 0}, {"n_steps": 1}]
)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(UsageError):
        audited(Net(), **options)


def test_parameters_as_a_list():
    net = Net()
    x, y = data()
    found = audit(net.step, lambda: list(net.p.values()), x, y, activation="tanh")
    assert found.correct
