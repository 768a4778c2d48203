"""``xpnet parity``: exit codes, table, JSON lines, JUnit reports, and whatever it can check."""

import re
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
from commands import lines_of, passes, refused, the_error

import xpnet
from xpnet import Huber, Model, SoftmaxCrossEntropy, cli, mlp, save
from xpnet.backends.numpy import NumpyOps
from xpnet.checks.compare import Row
from xpnet.cli import subject as subject_module
from xpnet.cli.parity import print_table

BOTH = ["--backends", "numpy,array-api-strict"]
NUMPY = ["--backends", "numpy"]
SHORT = ["--hidden", "8", "--steps", "2", "--batch-size", "16"]
ROW_KEYS = {
    "event", "dtype", "check", "backend", "error", "tolerance", "reason", "ulps", "passed", "note",
}  # fmt: skip


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path):
    for name in ("XPNET_BACKEND", "XPNET_DEVICE", "XPNET_DTYPE", "FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def data(tmp_path):
    """Sixty samples of six features in three classes."""
    rng = np.random.default_rng(0)
    path = tmp_path / "data.npz"
    np.savez(path, x=rng.normal(size=(60, 6)).astype(np.float32), y=np.arange(60) % 3)
    return path


@pytest.fixture
def parity(capsys, data):
    """Run ``xpnet parity`` in this process on little data: exit code, stdout, stderr."""

    def parity(*arguments, backends=BOTH, source=("--data", data), short=SHORT):
        code = cli.run(["parity", *map(str, [*short, *backends, *source, *arguments])])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return parity


@pytest.fixture
def quick(parity):
    """The same on NumPy alone, in float64: enough to see what is checked."""
    return lambda *arguments, **given: parity(
        "--dtype", "float64", *arguments, backends=NUMPY, **given
    )


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A module of the user's in the working directory, under a name of its own."""

    def mine(source):
        name = f"mine_{len(list(tmp_path.glob('mine_*.py')))}"
        (tmp_path / f"{name}.py").write_text(
            f"import numpy as np\nimport xpnet\n{source}", encoding="utf-8"
        )
        monkeypatch.delitem(sys.modules, name, raising=False)
        return f"{name}:f"

    yield mine
    for name in [name for name in sys.modules if name.startswith("mine_")]:
        del sys.modules[name]


def negated(self, dy, saved, W, f, need_dx, real=NumpyOps.affine_grad):
    dx, dW, db = real(self, dy, saved, W, f, need_dx)
    return dx, -dW, db


@pytest.fixture
def fault(monkeypatch):
    monkeypatch.setattr(NumpyOps, "affine_grad", negated)


# ---- what it prints --------------------------------------------------------------------------


def test_the_table_has_a_column_per_backend_and_ends_with_the_number_of_checks(parity):
    out = passes(parity())
    header = next(line for line in out.splitlines() if "limit" in line)
    assert "numpy on cpu" in header
    assert "array-api-strict on cpu" in header
    titles = [line.strip() for line in out.splitlines() if line.startswith("float")]
    assert titles == ["float32", "float64"], "a table each"
    assert re.fullmatch(r"\d+ checks, 0 failed", out.splitlines()[-1])
    assert "primitives (" in out


def test_five_backends_fit_on_a_terminal(capsys, monkeypatch):
    """Every figure is whole, and so is the frame."""
    monkeypatch.setenv("COLUMNS", "80")
    places = [f"{name} on cpu" for name in ("numpy", "numba", "torch", "jax", "array-api-strict")]
    rows = [Row("primitives", place, 1.2e-7, 1e-6, "because", 1.0, True, "") for place in places]
    print_table([("float32", row) for row in rows], show_all=False)
    line = next(line for line in capsys.readouterr().out.splitlines() if "1e-06" in line)
    assert line.split("│")[2:] == [" 1e-06 ", *[" 1.2e-07 "] * 5, ""]


def test_all_shows_every_check(parity):
    few = passes(parity("--dtype", "float64"))
    every = passes(parity("--dtype", "float64", "--all"))
    assert len(every.splitlines()) > 2 * len(few.splitlines())
    assert "op adam flushing" in every
    assert "op adam flushing" not in few


def test_json_lines_are_checks_and_one_result(parity):
    *checks, result = lines_of(passes(parity("--json")))
    assert all(set(check) == ROW_KEYS for check in checks)
    assert {check["event"] for check in checks} == {"check"}
    assert {check["backend"] for check in checks} == {"numpy on cpu", "array-api-strict on cpu"}
    assert {check["dtype"] for check in checks} == {"float32", "float64"}
    assert result == {"event": "result", "checks": len(checks), "failed": 0, "skipped": {}}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_dtype_alone_where_it_is_given(parity, monkeypatch, dtype):
    for result in (
        parity("--json", "--dtype", dtype),
        (monkeypatch.setenv("XPNET_DTYPE", dtype), parity("--json"))[1],
    ):
        *checks, _ = lines_of(passes(result))
        assert {check["dtype"] for check in checks} == {dtype}


def test_steps_are_those_of_the_course(quick):
    out = passes(quick("--json", "--dtype", "float64", "--steps", "3"))
    assert "course of 3 steps: weights" in out
    assert "course of 3 steps" in passes(quick("--json", "--steps", "999", "--batch-size", "20"))


def test_a_backend_named_twice_is_checked_once(parity):
    *checks, _ = lines_of(passes(parity("--json", backends=["--backends", "numpy,numpy"])))
    assert len({(c["dtype"], c["check"]) for c in checks}) == len(checks)


def test_options_come_from_a_file(parity, tmp_path, data):
    config = tmp_path / "run.toml"
    config.write_text(
        f"data = '{data}'\nhidden = [5]\ndtype = 'float64'\nbackends = ['numpy']\n"
        "steps = 2\nactivation = 'tanh'\nbatch_size = 16\n",
        encoding="utf-8",
    )
    out = passes(parity("--config", config, "--json", backends=[], source=[], short=[]))
    *checks, _ = lines_of(out)
    assert {(c["backend"], c["dtype"]) for c in checks} == {("numpy on cpu", "float64")}
    assert "course of 2 steps: weights" in out


# ---- faults ----------------------------------------------------------------------------------


def test_a_planted_fault_fails_and_the_first_check_is_named(parity, fault):
    code, out, err = parity()
    assert code == 1
    error = the_error(err)
    assert re.search(r"\d+ of \d+ checks failed, the first on numpy on cpu in float32: ", error)
    assert "op affine_grad" in error
    assert "FAILED" in out
    assert re.search(r"FAIL numpy on cpu, float32, op affine_grad relu-dx: error 2\.0e\+00", out)
    assert "FAIL array-api-strict" not in out
    assert not out.splitlines()[-1].startswith("0 failed")


def test_a_planted_fault_in_json_lines(parity, fault):
    code, out, err = parity("--json")
    *checks, result = lines_of(out)
    assert code == 1
    assert result["failed"] == sum(not check["passed"] for check in checks) > 0
    assert "op affine_grad" in the_error(err)


def test_an_exception_of_one_backend_is_a_failed_check(parity, mine):
    """A function that only NumPy has stops that backend, not the others."""
    model = mine(
        "def softly(xp, z):\n    return xp.asarray(np.tanh(z))\n"
        "def slope(xp, z, y):\n    return 1.0 - y * y\n"
        "tanh = xpnet.ACTIVATIONS['tanh']\n"
        "import dataclasses\n"
        "class Odd(xpnet.Dense):\n"
        "    def forward(self, ops, p, x, noise):\n"
        "        if 'strict' in ops.xp.__name__: raise TypeError('no [bold] way\\x1b')\n"
        "        return super().forward(ops, p, x, noise)\n"
        "def f():\n    return xpnet.Network(6, [Odd(4), xpnet.Dense(3)])\n"
    )
    code, _, err = parity("--model", model, "--dtype", "float64", "--junit", "report.xml")
    assert code == 1
    error = the_error(err)
    assert "1 of " in error
    assert "array-api-strict on cpu in float64: after initial weights" not in error
    assert "TypeError: no [bold] way" in error
    [case] = ElementTree.parse("report.xml").findall(".//testcase[failure]")
    assert case.get("classname") == "array-api-strict on cpu float64"
    assert "course of 2 steps" in passes(
        parity("--model", model, "--json", backends=["--backends", "numpy"])
    )


# ---- JUnit -----------------------------------------------------------------------------------


def test_the_junit_report_counts_every_check(parity, tmp_path):
    report = tmp_path / "report.xml"
    *_, result = lines_of(passes(parity("--json", "--junit", report)))
    suite = ElementTree.parse(report).getroot()
    assert suite.tag == "testsuite"
    assert int(suite.get("tests")) == result["checks"] == len(suite.findall("testcase"))
    assert (suite.get("failures"), suite.get("errors"), suite.get("skipped")) == ("0", "0", "0")
    names = [(case.get("classname"), case.get("name")) for case in suite]
    assert len(set(names)) == len(names)
    assert suite.findall(".//failure") == []
    assert report.read_bytes().startswith(b"<?xml")


def test_the_junit_report_of_a_fault_has_its_failures(quick, fault, tmp_path):
    report = tmp_path / "report.xml"
    code, out, _ = quick("--json", "--junit", report)
    assert code == 1
    suite = ElementTree.parse(report).getroot()
    failed = [case for case in suite if case.find("failure") is not None]
    assert len(failed) == int(suite.get("failures")) == lines_of(out)[-1]["failed"] > 0
    assert "op affine_grad" in failed[0].get("name")
    assert "error 2.0" in failed[0].find("failure").get("message")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--model", "no_such_module:f"], 2),
        (["--data", "missing.npz"], 74),
        (["--hidden", "0"], 2),
    ],
)
def test_an_error_leaves_an_older_report_as_it_was(quick, tmp_path, arguments, code):
    report = tmp_path / "report.xml"
    report.write_text("before", encoding="utf-8")
    there = sorted(tmp_path.iterdir())
    refused(quick("--junit", report, *arguments), code)
    assert report.read_text(encoding="utf-8") == "before"
    assert sorted(tmp_path.iterdir()) == there


def test_a_report_that_cannot_be_written_is_said_before_the_work(quick, tmp_path):
    path = tmp_path / "missing" / "report.xml"
    code, out, err = quick("--junit", path)
    assert (code, out) == (74, "")
    assert str(path) in the_error(err)
    assert refused(quick("--junit", tmp_path), 74)


# ---- backends --------------------------------------------------------------------------------


def test_an_unknown_backend_is_answered_with_the_near_match(parity):
    error = refused(parity(backends=["--backends", "numpy,trch"]))
    assert "unknown backend 'trch': did you mean 'torch'?" in error


def test_a_backend_asked_for_that_is_not_there_is_refused_with_the_remedy(parity, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    error = refused(parity(backends=["--backends", "numpy,torch"]))
    assert "backend torch is not installed" in error
    assert "pip install 'xpnet[torch]'" in error


@pytest.fixture
def two_alone(monkeypatch):
    """Only NumPy and array-api-strict can be imported."""
    for package in ("numba", "torch", "jax", "cupy"):
        monkeypatch.setitem(sys.modules, package, None)


def test_by_default_a_backend_that_is_not_there_is_passed_over(parity, two_alone, tmp_path):
    report = tmp_path / "report.xml"
    out = passes(parity("--dtype", "float64", "--junit", report, backends=[]))
    assert re.search(r"passed over torch: backend torch is not installed .*xpnet\[torch\]", out)
    suite = ElementTree.parse(report).getroot()
    assert suite.get("skipped") == "4"
    assert len(suite.findall("testcase/skipped")) == 4
    assert int(suite.get("tests")) == len(suite.findall("testcase"))
    assert suite.get("failures") == "0"
    result = lines_of(passes(parity("--dtype", "float64", "--json", backends=[])))[-1]
    assert set(result["skipped"]) == {"numba", "torch", "jax", "cupy"}
    assert "not installed" in result["skipped"]["jax"]


# ---- saved models ----------------------------------------------------------------------------


def saved(path, loss=SoftmaxCrossEntropy(), network=None, change=lambda theta: theta):  # noqa: B008
    network = network or mlp(6, 5, 3, activation="tanh")
    save(path, Model(network, change(network.init(1)), loss, 0.5, np.full(6, 0.25)))
    return path


def subject_of(monkeypatch, module="xpnet.cli.parity"):
    """The Subject that the command builds, once it has run."""
    found = []

    def build(*arguments):
        found.append(subject_module.build_subject(*arguments))
        return found[-1]

    monkeypatch.setattr(sys.modules[module], "build_subject", build)
    return found


def test_a_saved_model_brings_its_weights_its_loss_and_its_scaling(quick, tmp_path, monkeypatch):
    found = subject_of(monkeypatch)
    path = saved(tmp_path / "m", SoftmaxCrossEntropy(0.1))
    passes(quick("--model", path))
    [subject] = found
    assert subject.hp.loss == SoftmaxCrossEntropy(0.1)
    assert (subject.network.widths, subject.data.scale) == ((6, 5, 3), 0.5)
    assert subject.data.shift.tolist() == [0.25] * 6
    np.testing.assert_array_equal(subject.theta, subject.network.init(1))


def test_a_saved_model_of_another_loss_needs_no_option(quick, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    np.savez("real.npz", x=rng.normal(size=(40, 6)), y=rng.normal(size=(40, 2)))
    found = subject_of(monkeypatch)
    path = saved(tmp_path / "m", Huber(0.3), mlp(6, 4, 2))
    out = passes(quick("--model", path, "--json", source=["--data", "real.npz"]))
    assert found[0].hp.loss == Huber(0.3)
    assert '"check": "final loss"' in out
    asked = quick("--model", path, "--loss", "mse", source=["--data", "real.npz"])
    error = refused(asked)
    assert "was trained with huber, not mse: leave --loss out" in error
    passes(quick("--model", path, "--loss", "huber", source=["--data", "real.npz"]))


def test_a_saved_model_with_more_classes_than_the_data(quick, tmp_path):
    passes(quick("--model", saved(tmp_path / "m", network=mlp(6, 4, 7))))


@pytest.mark.parametrize("network", [mlp(5, 4, 3), mlp(6, 4, 2)], ids=["inputs", "outputs"])
def test_data_that_do_not_fit_a_model_are_refused(quick, tmp_path, data, network):
    path = saved(tmp_path / "m", network=mlp(6, 4, 2)) if network.n_in == 6 else tmp_path / "m"
    if network.n_in == 5:
        save(path, Model(network, network.init(0)))
    error = refused(quick("--model", path), 65)
    assert str(data) in error
    assert "takes 5 inputs" in error or "outside 0 .. 1" in error


def test_weights_that_are_not_finite_are_refused(quick, tmp_path):
    path = saved(tmp_path / "m", change=lambda theta: theta * np.float32(np.nan))
    assert f"{path}: its weights are not finite" in refused(quick("--model", path), 65)


def test_an_output_that_is_not_finite_is_refused(quick, tmp_path, mine):
    huge = saved(
        tmp_path / "m", network=mlp(6, 5, 3), change=lambda theta: theta * np.float32(1e38)
    )
    model = mine(
        "class Broken(xpnet.Dense):\n"
        "    def forward(self, ops, p, x, noise):\n"
        "        y, saved = super().forward(ops, p, x, noise)\n"
        "        return y * float('nan'), saved\n"
        "def f(): return xpnet.Network(6, [Broken(3)])"
    )
    error = refused(quick("--model", model), 65)
    assert "output is not finite" in error
    passes(quick("--model", huge))
    refused(quick("--model", huge, "--dtype", "float32"), 1)


def test_a_file_that_is_no_model_or_not_there(quick, tmp_path, data):
    assert str(data) in refused(quick("--model", data), 65)
    assert "missing" in refused(quick("--model", tmp_path / "missing"), 74)


# ---- functions of the user's -----------------------------------------------------------------


def test_a_function_that_returns_a_network(quick, mine, monkeypatch):
    found = subject_of(monkeypatch)
    path_before = list(sys.path)
    passes(quick("--model", mine("def f():\n    return xpnet.mlp(6, 4, 3, activation='gelu')")))
    assert found[0].network == mlp(6, 4, 3, activation="gelu")
    assert sys.path == path_before


def test_a_function_that_returns_a_network_and_a_dataset(quick, mine, monkeypatch):
    found = subject_of(monkeypatch)
    model = mine(
        "def f():\n"
        "    rng = np.random.default_rng(0)\n"
        "    X, y = rng.normal(size=(5000, 4)), rng.normal(size=(5000, 2))\n"
        "    return xpnet.mlp(4, 3, 2), xpnet.Dataset(X, y, shift=np.ones(4))\n"
    )
    passes(quick("--model", model, "--loss", "mse", source=[]))
    [subject] = found
    assert subject.data.n == 4096
    assert subject.data.shift.tolist() == [1.0] * 4
    error = refused(quick("--model", model, source=[]), 65)
    assert f"--model {model} with --loss softmax_xent: " in error


@pytest.mark.parametrize(
    "arguments",
    [
        ["--data", "data.npz"],
        ["--class-weights", "balanced"],
        ["--standardise"],
        ["--classes", "4"],
        ["--label-column", "last"],
    ],
)
def test_reading_data_that_a_function_brings_is_refused(quick, mine, arguments):
    model = mine(
        "def f(): return xpnet.mlp(2, 2), xpnet.Dataset(np.ones((4, 2)), np.arange(4) % 2)"
    )
    error = refused(quick("--model", model, *arguments, source=[]))
    assert f"brings its own samples: leave {arguments[0]} out" in error


def test_what_a_function_prints_does_not_spoil_json(quick, mine):
    model = mine("print('hello')\ndef f():\n    print('hello')\n    return xpnet.mlp(6, 3)")
    code, out, err = quick("--model", model, "--json")
    assert code == 0
    assert lines_of(out)[-1]["failed"] == 0
    assert err.split() == ["hello", "hello"]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import no_such_thing", "ModuleNotFoundError: No module named 'no_such_thing'"),
        ("def f(:", "SyntaxError"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("g = 1", "AttributeError: module"),
        ("f = 1", "TypeError: 'int' object is not callable"),
        ("def f(needed): pass", "TypeError: f() missing 1 required positional argument"),
        ("def f(): raise ValueError('one\\ntwo')", "ValueError: one two"),
        ("def f(): return xpnet.mlp(6)", "UsageError: mlp needs the width"),
        ("def f(): open('missing')", "FileNotFoundError"),
        ("def f(): pass", "returned a NoneType, not a Network"),
        ("def f(): return [xpnet.mlp(6, 3)]", "returned a list, not a Network"),
        ("def f(): return xpnet.mlp(6, 3), 3", "returned a tuple, not a Network"),
        ("def f(): return xpnet.mlp(6, 3), None, None", "returned a tuple, not a Network"),
    ],
)
def test_a_function_that_cannot_be_used_is_refused_in_one_line(quick, mine, source, said):
    model = mine(source)
    code, out, err = quick("--model", model)
    assert (code, out) == (2, "")
    error = the_error(err)
    assert said in error
    assert f"--model {model} " in error


@pytest.mark.parametrize("model", ["no_such_module:f", ":f", "xpnet.nothing:f", "xpnet:"])
def test_a_module_that_is_not_there(quick, model):
    assert f"--model {model} cannot be called" in refused(quick("--model", model))


def test_a_network_too_narrow_for_the_data(quick, mine, data):
    error = refused(quick("--model", mine("def f(): return xpnet.mlp(5, 3)")), 65)
    assert f"{data} for mine_0:f: X has 6 columns, but the network takes 5 inputs" in error


# ---- kinds of data ---------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["mse", "mae", "huber", "bce"])
def test_real_targets_and_several_labels(quick, loss, tmp_path):
    rng = np.random.default_rng(0)
    y = rng.normal(size=(40, 2))
    np.savez("data2.npz", x=rng.normal(size=(40, 6)), y=(y > 0).astype(int) if loss == "bce" else y)
    out = passes(quick("--loss", loss, "--json", source=["--data", "data2.npz"]))
    assert f'"check": "{"accuracy" if loss == "bce" else "final loss"}"' in out


def test_options_of_the_training_are_checked_too(quick):
    passes(
        quick(
            "--dropout", "0.2", "--optimizer", "momentum", "--clip-norm", "0.5", "--l2", "0.1",
            "--label-smoothing", "0.1", "--class-weights", "balanced", "--standardise",
            "--test-split", "0.2", "--activation", "tanh",
        )
    )  # fmt: skip


def test_compare_is_where_it_is_looked_for():
    from xpnet.checks import compare, gradcheck, parity
    from xpnet.checks.parity import compare as the_same
    from xpnet.checks.parity import parity as rows

    assert compare is the_same is parity.compare
    assert callable(gradcheck)
    assert callable(rows)
    assert xpnet.checks.parity.compare is compare
