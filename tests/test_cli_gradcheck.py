"""``xpnet gradcheck``: exit codes, table, JSON lines, and the blocks it blames."""

import numpy as np
import pytest
from commands import the_error
from test_cli_parity import (
    clean_environment,  # noqa: F401 - used by itself
    data,
    fault,
    lines_of,
    mine,
    passes,
    refused,
    saved,
    subject_of,
    two_alone,
)

from xpnet import Huber, cli, mlp
from xpnet.backends.numpy import NumpyOps

__all__ = ["data", "fault", "mine", "two_alone"]

KEYS = {
    "event", "backend", "dtype", "block", "n_checked", "n_kinks", "error", "where", "passed",
}  # fmt: skip
BLOCKS = ["layers.0.W", "layers.1.W", "layers.0.b", "layers.1.b", "x"]


@pytest.fixture
def check(capsys, data):
    """Run ``xpnet gradcheck`` in this process on little data: exit code, stdout, stderr."""

    def check(*arguments, backends=("--backends", "numpy"), source=("--data", data)):
        short = ["--hidden", "8", "--directions", "1", "--coordinates", "4"]
        code = cli.run(["gradcheck", *map(str, [*short, *backends, *source, *arguments])])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return check


def test_the_table_has_a_row_per_block(check):
    out = passes(check())
    for block in BLOCKS:
        assert block in out
    assert out.count("pass ") == len(BLOCKS)
    assert out.splitlines()[-1] == (
        "5 blocks in float64, 0 failed; 0 probes met a kink; errors are beyond those of the "
        "differences themselves"
    )


def test_nothing_of_the_table_is_cut_in_80_columns(check, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    out = passes(check(backends=["--backends", "array-api-strict"]))
    rows = [[cell.strip() for cell in row.split("│")] for row in out.splitlines() if "pass" in row]
    assert [row[1:3] for row in rows] == [["array-api-strict on cpu", block] for block in BLOCKS]
    assert all(float(row[5]) <= 1e-6 for row in rows)


def test_json_lines_are_checks_and_one_result(check):
    *checks, result = lines_of(passes(check("--json")))
    assert [c["block"] for c in checks] == BLOCKS
    assert all(set(c) == KEYS for c in checks)
    assert {c["dtype"] for c in checks} == {"float64"}
    assert {c["n_checked"] + c["n_kinks"] for c in checks} <= {3, 4, 5}
    assert result == {"event": "result", "checks": 5, "failed": 0, "skipped": {}}


@pytest.mark.parametrize("backends", ["numpy,array-api-strict", "array-api-strict"])
def test_float32_and_other_backends(check, backends):
    out = passes(check("--json", "--dtype", "float32", backends=["--backends", backends]))
    *checks, result = lines_of(out)
    assert result["checks"] == 5 * len(backends.split(","))
    assert {c["dtype"] for c in checks} == {"float32"}
    assert {c["backend"].split()[0] for c in checks} == set(backends.split(","))


def test_by_default_every_usable_backend(check, two_alone):
    out = passes(check(backends=[]))
    assert "array-api-strict" in out
    assert "passed over torch: backend torch is not installed" in out
    *checks, result = lines_of(passes(check("--json", backends=[])))
    assert {c["backend"] for c in checks} == {"numpy on cpu", "array-api-strict on cpu"}
    assert set(result["skipped"]) == {"numba", "torch", "jax", "cupy"}


def test_a_backend_that_is_not_there(check, two_alone):
    error = refused(check(backends=["--backends", "torch"]))
    assert "backend torch is not installed" in error
    assert "'nunpy': did you mean 'numpy'" in refused(check(backends=["--backends", "nunpy"]))


def test_a_planted_fault_names_the_blocks(check, fault):
    code, out, err = check()
    assert code == 1
    error = the_error(err)
    assert "the gradient is wrong for layers.0.W on numpy on cpu (" in error
    assert "layers.1.W on numpy" in error
    assert ".b" not in error
    assert out.count("FAIL") == 2
    code, out, _ = check("--json")
    *checks, result = lines_of(out)
    assert code == 1
    assert [c["block"] for c in checks if not c["passed"]] == ["layers.0.W", "layers.1.W"]
    assert result["failed"] == 2


def test_a_fault_of_one_backend_is_not_blamed_on_the_other(check, fault):
    _, _, err = check(backends=["--backends", "numpy,array-api-strict"])
    assert "array-api-strict" not in the_error(err)


def test_a_gradient_with_a_single_nan_is_wrong(check, monkeypatch):
    def broken(self, dy, saved, W, f, need_dx, real=NumpyOps.affine_grad):
        dx, dW, db = real(self, dy, saved, W, f, need_dx)
        dW[-1, -1] = np.nan
        return dx, dW, db

    monkeypatch.setattr(NumpyOps, "affine_grad", broken)
    code, _, err = check()
    assert code == 1
    assert "layers.0.W" in the_error(err)


def test_kinks_are_counted_and_not_blamed(check):
    """Outputs of 0 for targets of 0 put the absolute error on its kink."""
    np.savez("on.npz", x=np.zeros((8, 2)), y=np.zeros(8))
    on_the_kink = ["--loss", "mae", "--init", "zeros"]
    *checks, _ = lines_of(passes(check(*on_the_kink, "--json", source=["--data", "on.npz"])))
    assert any(line["n_kinks"] for line in checks)
    out = passes(check(*on_the_kink, source=["--data", "on.npz"]))
    assert f"{sum(line['n_kinks'] for line in checks)} probes met a kink" in out


def test_a_saved_model_decides_its_loss(check, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    np.savez("real.npz", x=rng.normal(size=(40, 6)), y=rng.normal(size=(40, 2)))
    found = subject_of(monkeypatch, "xpnet.cli.gradcheck")
    path = saved(tmp_path / "m", Huber(0.3), mlp(6, 4, 2))
    passes(check("--model", path, source=["--data", "real.npz"]))
    assert found[0].hp.loss == Huber(0.3)


def test_an_exception_of_a_layer_is_one_line(check, mine):
    model = mine(
        "class Odd(xpnet.Dense):\n"
        "    def backward(self, *arguments): raise TypeError('no way')\n"
        "def f(): return xpnet.Network(6, [Odd(3)])"
    )
    error = refused(check("--model", model), 1)
    assert "no gradient on numpy on cpu: TypeError: no way" in error


def test_a_loss_that_is_not_finite(check, mine):
    model = mine(
        "class Broken(xpnet.Dense):\n"
        "    def forward(self, ops, p, x, noise):\n"
        "        y, saved = super().forward(ops, p, x, noise)\n"
        "        return y * float('nan'), saved\n"
        "def f(): return xpnet.Network(6, [Broken(3)])"
    )
    assert "the loss is not finite" in refused(check("--model", model), 65)


@pytest.mark.parametrize("loss", ["mse", "bce"])
def test_real_targets_and_several_labels(check, loss):
    rng = np.random.default_rng(0)
    y = rng.normal(size=(40, 2))
    np.savez("data2.npz", x=rng.normal(size=(40, 6)), y=(y > 0).astype(int) if loss == "bce" else y)
    passes(check("--loss", loss, source=["--data", "data2.npz"]))


def test_options_come_from_a_file(check, tmp_path):
    config = tmp_path / "run.toml"
    config.write_text("activation = 'gelu'\ndropout = 0.2\ncoordinates = 2\n", encoding="utf-8")
    out = passes(check("--config", config))
    assert "layers.2.W" in out


@pytest.mark.parametrize("flag", ["--directions", "--coordinates"])
@pytest.mark.parametrize("value", ["0", "-1", "x", "0.5"])
def test_senseless_numbers_are_refused(check, flag, value):
    assert flag in refused(check(flag, value))
