"""The five broken networks, given to the tools that were not told what is wrong with them."""

import numpy as np
import pytest

from xpnet.mistakes import Problem, audit, explain_gradients
from xpnet.recipes import RECIPES

ROWS = {"fake-momentum": 2000, "broken-chain-rule": 4}  # at lr 1e-5 few samples move nothing


def bench(name, **bugs):
    rows = min(ROWS.get(name, 20), 20 if bugs else 2000)
    made = RECIPES[name].bench(rows=rows, **bugs)
    return made.network, np.asarray(made.x), np.asarray(made.y)


def declared(network):
    said = network.declared
    return {
        "activation": said.activation,
        "loss": said.loss,
        "output": said.output,
        "reduction": said.reduction,
    }


def per_sample(name):
    return 1 if name == "shadowed-weights" else None


def examined(name, **bugs):
    """What explain says of the gradients that the code computes; biases as long as their layer."""
    network, x, y = bench(name, **bugs)
    if per_sample(name):
        x, y = x[5:6], y[5:6]
    p = network.params()
    W = [p["W1"], p["W2"]]
    b = [p.get(f"b{i}") for i in (1, 2)]
    b = [None if v is None or v.size != w.shape[1] else v for v, w in zip(b, W, strict=True)]
    problem = Problem(x, y, W, b, **declared(network))
    grads = {dname: np.asarray(g) for dname, g in network.gradients(x, y).items()}
    return explain_gradients(problem, grads)


def audited(name, **bugs):
    """What audit says of the steps; it is shown a second set of parameters where there is one."""
    network, x, y = bench(name, **bugs)
    own = {k[4:] for k in network.arrays if k.startswith("own.")}

    def written():
        return {k: network.arrays[f"own.{k}"] for k in sorted(own)}

    best = network.params() if "aliased-best" not in network.bugs else None
    return audit(
        network.step,
        network.params,
        x,
        y,
        written=written if "shadowed-parameters" in network.bugs else None,
        forward=network.forward,
        predict=network.predict,
        kept=None if best is None else lambda: {k: np.array(a) for k, a in best.items()},
        lr=network.lr,
        batch_size=per_sample(name),
        **declared(network),
    )


@pytest.mark.parametrize("name", RECIPES)
def test_the_same_code_without_its_bugs_is_not_accused(name):
    assert examined(name, only=[]).correct
    found = audited(name, only=[])
    assert found.names == ()
    assert found.correct


GRADIENTS = {
    "transposed-gradient": {
        "dW2": "transposed",
        "db2": "one-scalar-for-all-biases",
        "dW1": "correct",
        "db1": "one-scalar-for-all-biases",
    },
    "summed-gradient": {"dW2": "times-half-the-batch", "dW1": "times-half-the-batch"},
    "fake-momentum": dict.fromkeys(("dW2", "db2", "dW1", "db1"), "logits-for-outputs"),
    "broken-chain-rule": {"dW2": "product-of-sums", "dW1": "weight-gradient-passed-back"},
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_explain_names_the_bugs_in_the_gradients(name):
    found = examined(name).gradients
    assert {dname: f.verdict for dname, f in found.items()} == GRADIENTS[name]
    if name == "fake-momentum":
        assert all("summed-not-averaged" in f.mistakes for f in found.values())


STEPS = {
    "shadowed-weights": {
        "parameters-never-change",
        "softmax-over-batch",
        "another-learning-rate",
        "stale-activations",
        "weights-of-another-copy",
        "negated",
    },
    "transposed-gradient": {
        "transposed",
        "one-scalar-for-all-biases",
        "some-parameters-never-change",
    },
    "summed-gradient": {"times-half-the-batch", "train-and-predict-differ"},
    "fake-momentum": {"decay-posing-as-momentum", "logits-for-outputs", "summed-not-averaged"},
    "broken-chain-rule": {
        "product-of-sums",
        "weight-gradient-passed-back",
        "bias-of-wrong-shape",
        "some-parameters-never-change",
    },
}


@pytest.mark.parametrize("name", STEPS)
def test_audit_names_the_bugs_in_the_steps(name):
    found = audited(name)
    assert STEPS[name] <= set(found.names)
    assert "unexplained" not in found.names


def test_the_flipped_sign_of_the_first_layer_alone():
    found = examined("shadowed-weights", only=["flipped-sign"]).gradients
    assert {dname: f.verdict for dname, f in found.items()} == {
        "dW2": "correct", "db2": "correct", "dW1": "negated", "db1": "negated",
    }  # fmt: skip


def test_the_momentum_that_is_none_alone_and_the_true_one():
    fake = audited("fake-momentum", only=["fake-momentum"])
    assert fake.rule.name == "decay-posing-as-momentum"
    assert fake.rule.mu == pytest.approx(0.9, abs=1e-6)
    assert fake.gradients.correct
    true = audited("fake-momentum", only=["one-hidden-unit"])
    assert true.rule.name == "momentum"
    assert true.rule.mu == pytest.approx(0.9, abs=1e-4)


def test_the_prediction_that_adds_one():
    remarks = {r.name: r.evidence for r in audited("summed-gradient").remarks}
    assert "it adds +1 to every pre-activation" in remarks["train-and-predict-differ"]


def test_the_gradient_check_of_the_third_post_is_negated():
    network, x, y = bench("summed-gradient", only=["flipped-check", "no-biases"])
    network.arrays = {k: a.astype(np.float64) for k, a in network.arrays.items()}
    x, y = x[:, ::40].astype(np.float64), y.astype(np.float64)  # every 40th pixel will do
    network.arrays["W1"] = network.arrays["W1"][::40]
    unit = np.zeros_like(network.arrays["W2"])
    numeric = np.zeros_like(unit)
    for place in np.ndindex(unit.shape):
        unit[place] = 1.0
        numeric[place] = network.checked_gradient(x, y, "W2", unit, 1e-5)
        unit[place] = 0.0
    p = network.params()
    problem = Problem(x, y, [p["W1"], p["W2"]], **declared(network))
    found = explain_gradients(problem, {"dW2": numeric.astype(np.float32)}).gradients["dW2"]
    assert found.verdict == "negated"
