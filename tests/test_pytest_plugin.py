"""The pytest plugin: fixtures for other projects, which load nothing and clash with nothing."""

import subprocess
import sys

import numpy as np
import pytest

from xpnet import backends
from xpnet.checks.pair import Pair
from xpnet.errors import UsageError

pytest_plugins = ["pytester"]

HERE = "numpy,array-api-strict"

SOFTMAX = """
import numpy as np
from array_api_compat import array_namespace

def softmax(x):
    xp = array_namespace(x)
    e = xp.exp(x - xp.max(x, axis=1, keepdims=True))
    return e / xp.sum(e, axis=1, keepdims=True)
"""

EXAMPLE = """
def test_softmax(xp_pair):
    x = np.linspace(-9, 9, 12).reshape(3, 4)
    xp_pair.assert_close(softmax(xp_pair.place(x)), softmax(x))
"""


@pytest.fixture
def project(pytester, monkeypatch):
    """Run a test file as a project of its own."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.delenv("PYTEST_PLUGINS", raising=False)

    def run(source, *arguments, conftest="", ini=""):
        pytester.makepyfile(test_project=source)
        pytester.makeconftest(conftest)
        pytester.makeini(f"[pytest]\n{ini}")
        without = [f"-pno:{name}" for name in ("xdist", "cacheprovider", "hypothesispytest")]
        return pytester.runpytest_inprocess(*without, *arguments)

    return run


# ---- what it is for --------------------------------------------------------------------------


def test_the_example_of_the_readme(project):
    project(SOFTMAX + EXAMPLE, "--xp-backends", HERE).assert_outcomes(passed=1)


def test_the_example_on_every_backend(backend):
    """In this process: an array library is not loaded twice."""
    names = {}
    exec(SOFTMAX + EXAMPLE, names)
    names["test_softmax"](Pair(backend))


def test_the_example_fails_where_the_code_is_wrong(project):
    wrong = SOFTMAX.replace("return e", "return (e if 'strict' not in xp.__name__ else e * 1.001)")
    result = project(wrong + EXAMPLE, "--xp-backends", HERE)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*array-api-strict on cpu, result: relative error 1.0e-03 (*ulp) above 1e-12: *"]
    )


def test_xp_is_the_namespace_of_each_backend(project):
    source = "def test(xp): assert float(xp.sum(xp.ones(3))) == 3; print('is', xp.__name__)"
    result = project(source, "-s", "--xp-backends", HERE)
    result.assert_outcomes(passed=2)
    text = result.stdout.str()
    assert "is array_api_compat.numpy" in text
    assert "is array_api_strict" in text


def test_the_option_beats_the_ini_file(project):
    source = "def test(xp): pass"
    ini = f"xp_backends = {HERE}"
    project(source, ini=ini).assert_outcomes(passed=2)
    project(source, "--xp-backends", "numpy", ini=ini).assert_outcomes(passed=1)


def test_numpy_alone_is_compared_with_itself(project):
    project(SOFTMAX + EXAMPLE, "--xp-backends", "numpy").assert_outcomes(passed=1)


def test_the_default_is_what_is_installed(project, monkeypatch):
    found = [n for n, e in backends.BACKENDS.items() if e.package in ("numpy", "array_api_strict")]
    few = {name: backends.BACKENDS[name] for name in found}
    few["cupy"] = backends.BACKENDS["cupy"]._replace(package="no_such_package")
    monkeypatch.setattr(backends, "BACKENDS", few)
    project("def test(xp): pass").assert_outcomes(passed=2)


# ---- backends that are not there -------------------------------------------------------------


def test_an_unknown_backend_is_answered_with_the_near_match(project):
    result = project("def test(xp): pass", "--xp-backends", "nunpy")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--xp-backends: unknown backend 'nunpy': did you mean 'numpy'?"])


def test_an_unknown_backend_in_the_ini_file_too(project):
    result = project("def test(xp): pass", ini="xp_backends = nunpy")
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_a_backend_asked_for_that_does_not_work_is_an_error(project, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    result = project("def test(xp): pass", "--xp-backends", "torch")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*backend torch is not installed*pip install 'xpnet?torch?'*"])


def test_a_backend_that_does_not_work_is_skipped_by_default(project, monkeypatch):
    def get(name):
        raise backends.BackendError("there is no GPU here")

    few = {"numpy": backends.BACKENDS["numpy"]}
    monkeypatch.setattr(backends, "BACKENDS", few)
    monkeypatch.setattr(backends, "get", get)
    result = project("def test(xp): pass", "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*there is no GPU here*"])


# ---- good manners ----------------------------------------------------------------------------


OWN = "import pytest\n@pytest.fixture\ndef xp(): return 'mine'\n"
TWO = "import pytest\n@pytest.fixture(params=[1, 2])\ndef xp(request): return request.param\n"
THREE = "import pytest\n@pytest.mark.parametrize('xp', [1, 2, 3])\n"


@pytest.mark.parametrize(
    ("conftest", "start", "values", "n"),
    [
        (OWN, "", ["mine"], 1),
        (TWO, "", [1, 2], 2),
        ("", OWN, ["mine"], 1),
        ("", THREE, [1, 2, 3], 3),
    ],
    ids=["conftest", "conftest with params", "test module", "mark"],
)
def test_an_xp_of_a_projects_own_wins(project, conftest, start, values, n):
    source = f"{start}def test(xp): assert xp in {values}"
    project(source, conftest=conftest).assert_outcomes(passed=n)


def test_it_can_be_switched_off(project):
    project("def test(xp): pass", "-p", "no:xpnet").assert_outcomes(errors=1)


def test_another_projects_tests_load_no_array_library(pytester):
    """Not even where warnings are errors and markers strict."""
    pytester.makepyfile(
        """
        import sys

        def test():
            heavy = {"jax", "torch", "cupy", "array_api_strict", "click", "rich"}
            assert not heavy & set(sys.modules)
            assert "xpnet.checks.pytest_plugin" in sys.modules
        """
    )
    options = ["-W", "error", "--strict-markers", "-p", "no:xdist", "-p", "no:hypothesispytest"]
    run = [sys.executable, "-m", "pytest", "-q", *options]
    done = subprocess.run(run, capture_output=True, text=True, cwd=pytester.path, check=False)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


# ---- the pair --------------------------------------------------------------------------------


@pytest.fixture
def pair():
    return Pair(backends.get("array-api-strict"))


def test_place_converts_floats_and_keeps_the_rest(pair):
    host = np.arange(3, dtype=np.float32), [np.arange(3, dtype=np.int16), "text", 2]
    a, (b, text, number) = pair.place(host)
    assert a.dtype == pair.xp.float64
    assert b.dtype == pair.xp.int16
    assert (text, number) == ("text", 2)
    assert pair.place(host[0], "float32").dtype == pair.xp.float32
    assert pair.to_numpy(a).tolist() == [0, 1, 2]


def test_the_reference_is_numpy(pair):
    assert pair.reference.asarray([1.5]).dtype == np.float64
    assert "array-api-strict on cpu" in repr(pair)


def test_nested_results_are_compared_leaf_by_leaf(pair):
    exact = {"a": np.ones(2), "b": [np.zeros(3), (np.arange(2), 1.5)]}
    ours = {name: pair.place(part) for name, part in exact.items()}
    pair.assert_close(ours, exact)
    ours["b"][1] = (pair.place(np.arange(2) + 1), 1.5)
    with pytest.raises(AssertionError, match=r"result\['b'\]\[1\]\[0\]"):
        pair.assert_close(ours, exact)


@pytest.mark.parametrize(
    ("ours", "exact"),
    [
        (np.ones(3), np.ones(2)),
        (np.ones(3), np.ones((3, 1))),
        (np.ones(3), np.ones(3, np.int32)),
        (np.arange(3), np.arange(3) + 1),
        (np.asarray([1.0, np.nan]), np.asarray([1.0, 2.0])),
        (np.asarray([1 + 1j]), np.asarray([1 + 2j])),
        ([np.ones(3)], np.ones(3)),
        ([np.ones(3)], [np.ones(3), np.ones(3)]),
        (0.5, 0.7),
        ([], [np.ones(1)]),
    ],
)
def test_what_differs_fails(pair, ours, exact):
    with pytest.raises(AssertionError):
        pair.assert_close(pair.place(ours), exact)


@pytest.mark.parametrize(
    "value",
    [
        np.asarray([np.nan, np.inf, 1.0]),
        np.asarray([1 + 2j]),
        np.asarray([True, False]),
        np.zeros((0, 3)),
        np.asarray(2.5),
        1.5,
    ],
)
def test_what_is_the_same_passes(pair, value):
    pair.assert_close(pair.place(value), value)


def test_the_tolerance_can_be_chosen(pair):
    exact = np.ones(3)
    ours = pair.place(exact * (1 + 1e-4))
    pair.assert_close(ours, exact, tolerance=1e-3)
    with pytest.raises(AssertionError, match="as asked for"):
        pair.assert_close(ours, exact, tolerance=1e-5)
    pair.assert_close(pair.place(np.ones(3) * (1 + 1e-6), "float32"), exact)


def test_a_result_that_left_the_backend_is_noticed(pair):
    with pytest.raises(UsageError, match="array-api-strict on cpu became one of numpy on cpu"):
        pair.assert_close(np.ones(3), np.ones(3))


def test_a_backend_without_float64_is_compared_in_float32():
    class Single(type(backends.get("numpy"))):
        def check_dtype(self, dtype):
            if dtype == "float64":
                raise UsageError("no float64 here")

    pair = Pair(Single("numpy", np, version="0"))
    assert pair.dtype == "float32"
    pair.assert_close(pair.place(np.ones(3) / 3), np.ones(3) / 3)
