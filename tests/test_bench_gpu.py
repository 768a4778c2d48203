"""``bench/gpu.py``: rehearsed without a GPU, killed and resumed, and in its parts."""

import importlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time
import types
from typing import ClassVar

import numpy as np
import pytest
from commands import environment

import xpnet
from xpnet.bench.sheet import Sheet

BENCH = pathlib.Path(xpnet.__file__).parents[1] / "bench"
QUICK = "machine,repeat,products"
REHEARSAL = "REHEARSAL: the CPU stood in for a GPU; no figure here is a measurement"


@pytest.fixture(scope="module", autouse=True)
def on_the_path():
    """The bench is no package: its modules are found beside its script."""
    sys.path.insert(0, str(BENCH))
    yield
    sys.path.remove(str(BENCH))


def module(name):
    return importlib.import_module(f"gpu_sections.{name}")


def start(*arguments, script=BENCH / "gpu.py", **variables):
    """Start the command; it finds the package wherever this process did."""
    variables.setdefault("PYTHONPATH", str(BENCH.parent))
    return subprocess.Popen(
        [sys.executable, script, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**variables),
        start_new_session=True,
    )


def gpu(*arguments, **settings):
    """Run it to its end: exit code, stdout and stderr."""
    with start(*arguments, **settings) as process:
        out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def files_in(folder):
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


# ---- from end to end ---------------------------------------------------------------------------


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_rehearsal_that_is_killed_goes_on_where_it_was(tmp_path):
    out = tmp_path / "record"
    products = out / "products.json"
    process = start("--rehearse", "--out", out, "--sections", QUICK)
    wait_for(lambda: products.exists() and Sheet(products, rehearsal=True).parts)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    wait_for(lambda: not still_writing(products))
    before = Sheet(products, rehearsal=True)
    assert not before.complete, "it was killed half way"
    (out / ".products.json.1.tmp").write_text("{", encoding="utf-8")  # or while it was writing

    code, table, said = gpu("--rehearse", "--out", out, "--sections", QUICK)
    assert code == 0, said
    for name in ("machine", "repeat"):
        assert f"{name}: is there already (--again {name} repeats it)" in said
    after = Sheet(products, rehearsal=True)
    assert after.complete
    for part, result in before.parts.items():
        assert after.parts[part] == result
        assert f"products: {part}\n" not in said
    assert "machine: versions" not in said
    files = files_in(out)
    assert set(files) == {
        "environment.json", "machine.json", "products.json", "repeat.json", "table.txt",
    }  # fmt: skip
    for text in files.values():
        assert REHEARSAL in text
        assert str(tmp_path) not in text
        assert str(BENCH.parent) not in text
    assert files["table.txt"] == table
    assert "captured and call by call, AdamW: equal bit for bit" in table
    assert "== speed: xpnet, PyTorch and JAX on the same work\nnot run" in table


def still_writing(path):
    """Whether the section's process is still there: it ends with the command that started it."""
    before = path.stat().st_mtime_ns
    time.sleep(0.3)
    return path.stat().st_mtime_ns != before


@pytest.mark.slow
def test_a_section_is_repeated_the_table_printed_anew_and_kinds_are_not_mixed(tmp_path):
    chosen = ("--rehearse", "--out", tmp_path, "--sections", "machine")
    assert gpu(*chosen)[0] == 0
    first = files_in(tmp_path)
    assert gpu(*chosen, "--again", "machine")[0] == 0
    assert files_in(tmp_path)["machine.json"] != first["machine.json"]
    (tmp_path / "table.txt").unlink()
    code, out, said = gpu("--out", tmp_path, "--table")
    assert (code, said) == (0, "")
    assert "== REHEARSAL machine" in out
    assert files_in(tmp_path)["table.txt"] == out
    code, _, said = gpu("--out", tmp_path, "--sections", "machine")
    assert code == 1
    assert "holds a rehearsal: name another folder" in said


def test_without_a_gpu_it_says_what_is_missing_and_goes_on(tmp_path):
    code, out, said = gpu(
        "--out", tmp_path, "--sections", "repeat,products", CUDA_VISIBLE_DEVICES=""
    )
    assert code == 1
    assert "Traceback" not in said
    assert out.count("FAILED: ") == 2
    assert said.count("FAILED: ") == 2
    assert "cupy" in out.lower()
    assert "REHEARSAL" not in out


@pytest.mark.slow
@pytest.mark.torch
def test_all_sections_are_rehearsed(tmp_path):
    code, table, said = gpu("--rehearse", "--out", tmp_path)
    assert code == 0, said
    for name in module("speed").SECTION.name, "accuracy", "sanitizer", "faults", "parity":
        assert f"== REHEARSAL {name}" in table
        assert Sheet(tmp_path / f"{name}.json", rehearsal=True).complete
    speed = Sheet(tmp_path / "speed.json", rehearsal=True).parts
    ranked = {s["name"] for s in speed["classic-adamw, fp32"]["standings"] if s["ranked"]}
    assert ranked == set(module("speed").CONTESTANTS)
    rounded = {s["name"]: s["off"] for s in speed["full, bf16"]["standings"]}
    assert rounded["torch-eager"] > 1e-4, "its products are rounded"
    assert "is not ranked" not in table
    assert "the checkpoint is as it was, and readable" in table


# ---- planted sections --------------------------------------------------------------------------

PLANTED = """
import os, sys, time
sys.path.insert(0, {bench!r})
import gpu
from xpnet.bench.sections import Section

def bad(kind):
    if kind == "raises":
        raise RuntimeError("no such kernel in /usr/lib/secret/k.cu")
    if kind == "dies":
        os._exit(3)
    if kind == "hangs":
        time.sleep(60)
    return {{"figure": 1}}

def lines(results):
    return [f"{{name}} {{r['figure']}}" for name, r in results.items() if "figure" in r]

def section(kind):
    parts = {{"fine": lambda: bad("fine"), "bad": lambda: bad(kind), "last": lambda: bad("fine")}}
    return Section(kind, "planted", 4.0, lambda rig: parts, lines)

gpu.command({{kind: section(kind) for kind in ("raises", "hangs", "dies", "fine")}})()
"""


@pytest.mark.slow
def test_planted_sections_are_named_and_cost_no_other(tmp_path):
    script = tmp_path / "planted.py"
    script.write_text(textwrap.dedent(PLANTED).format(bench=str(BENCH)), encoding="utf-8")
    out = tmp_path / "record"
    code, table, said = gpu("--out", out, "--minutes", "1", script=script)
    assert code == 1
    failures = [line for line in table.splitlines() if line.startswith("FAILED")]
    assert failures == [
        "FAILED: bad: RuntimeError: no such kernel in ...",
        "FAILED: bad: did not end within 4 s",
        "FAILED: bad: died with exit code 3",
    ]
    assert table.count("fine 1\nlast 1") + table.count("fine 1\nbad 1\nlast 1") == 4
    assert "hangs: bad did not end within 4 s" in said
    assert "Traceback" not in said
    code, again, said = gpu("--out", out, "--minutes", "1", script=script)
    assert (code, again) == (1, table), "failures are kept, and are no success the next time"
    assert said.count("is there already") == 4


def test_what_the_time_is_out_for_is_said_and_done_by_the_next_call(tmp_path):
    code, table, said = gpu(
        "--rehearse", "--out", tmp_path, "--sections", "repeat", "--minutes", "0.01"
    )
    assert "repeat: passed over, the time is out" in said
    assert "repeat: the same bits every time, and no leak\nnot run" in table
    assert code == 1


# ---- the sections' own judgement, with what they must find planted -------------------------------


def rehearsal(tmp_path):
    return module("rig").Rehearsal(tmp_path)


def test_a_wrong_primitive_fails_parity_with_its_row_in_full(tmp_path, monkeypatch):
    rig, parity = rehearsal(tmp_path), module("parity")
    backend = rig.backend()
    ops = backend.ops()
    right = ops.sgd
    monkeypatch.setattr(ops, "sgd", lambda theta, g, lr: right(theta, 1.01 * g, lr))
    monkeypatch.setattr(backend, "ops", lambda: ops)
    monkeypatch.setattr(rig, "backend", lambda *_: backend)
    found = parity.rows(rig, parity.subjects(rig)["default"], "float32")
    assert "op sgd" in found["failed"]
    assert [row["check"] for row in found["failed rows"]] == ["op sgd"]
    assert any(line.startswith("  FAIL op sgd: error") for line in parity.lines({"x": found}))


def test_a_gpu_that_computes_no_more_spoils_the_process(tmp_path, monkeypatch):
    """Its rows are kept, and so are those of the parts that follow, in another process."""
    rig, parity, products = rehearsal(tmp_path), module("parity"), module("products")
    subject, shape = parity.subjects(rig)["default"], products.parts(rig)
    assert not parity.rows(rig, subject, "float32")["spoilt"]
    assert not next(iter(shape.values()))()["spoilt"]

    def synchronize():
        raise RuntimeError("cudaErrorIllegalAddress")

    monkeypatch.setattr(rig, "synchronize", synchronize)
    found = parity.rows(rig, subject, "float32")
    assert found["spoilt"]
    assert found["checks"] > 0
    monkeypatch.setattr(products, "measured", lambda rig, shape: {})
    monkeypatch.setattr(products, "judged", lambda result: {"failed": "all refused"})
    assert next(iter(products.parts(rig).values()))() == {"failed": "all refused", "spoilt": True}


def test_a_gradient_above_its_bound_fails(tmp_path, monkeypatch):
    rig, parity = rehearsal(tmp_path), module("parity")
    subject = parity.subjects(rig)["default"]
    assert parity.rounded(rig, subject, "tf32")["failed"] == ""
    monkeypatch.setitem(parity.BOUNDS, "tf32", 1e-12)
    assert "above 1e-12" in parity.rounded(rig, subject, "tf32")["failed"]


class Rounded(np.ndarray):
    """Float64 whose products take operands cut off after ``bits`` bits, as tensor cores may."""

    bits = 10

    def __matmul__(self, other):
        return (cut(self, self.bits) @ cut(other, self.bits)).view(type(self))


def cut(array, bits):
    words = np.ascontiguousarray(array, np.float32).view(np.uint32)
    return (words & np.uint32(-1 << 23 - bits & 0xFFFFFFFF)).view(np.float32).astype(np.float64)


class RoundedTo7(Rounded):
    bits = 7


ROUNDED = {"tf32": Rounded, "bf16": RoundedTo7}


@pytest.mark.parametrize("precision", ROUNDED)
def test_rounding_alone_is_no_failure_and_a_wrong_slope_is(tmp_path, monkeypatch, precision):
    parity, kind = module("parity"), ROUNDED[precision]
    rig = module("rig").Rig(tmp_path)
    ops = xpnet.ops.Ops(np)
    backend = types.SimpleNamespace(
        ops=lambda: ops,
        asarray=lambda a: a.astype(np.float64).view(kind) if a.dtype.kind == "f" else a,
        to_numpy=np.asarray,
    )
    monkeypatch.setattr(rig, "backend", lambda _: backend)
    subject = parity.subjects(rig)[parity.SMOOTH]
    found = parity.rounded(rig, subject, precision)
    assert found["failed"] == ""
    assert found["error"] > found["bound"] / 10, "it was rounded, and ten times the bound is much"
    right = ops.affine_grad
    monkeypatch.setattr(ops, "affine_grad", lambda dy, *a: right(1.3 * dy, *a))
    assert "above" in parity.rounded(rig, subject, precision)["failed"]


@pytest.mark.parametrize("precision", ROUNDED)
def test_rounding_alone_does_no_other_work(tmp_path, monkeypatch, precision):
    from xpnet.bench import judge

    speed, kind, right = module("speed"), ROUNDED[precision], judge.gradients
    momentum = module("rig").workloads(module("rig").Rig(tmp_path))[1]
    part = judge.short(momentum)
    true = judge.true_parameters(part)

    def rounding(workload, params, x, y):
        params = [A.view(kind) for A in params]
        return [np.asarray(g) for g in right(workload, params, x.view(kind), y)]

    monkeypatch.setattr(judge, "gradients", rounding)
    off = judge.deviation(part, judge.true_parameters(part), true)
    assert judge.SHORT < off < speed.OFF[precision]


def test_one_bit_is_a_difference(tmp_path):
    rig, repeat = rehearsal(tmp_path), module("repeat")
    rule = repeat.RULES[0]
    a = repeat.trained(rig, rig.backend(), rule)
    assert repeat.same_bits(a, a) == []
    bits = a.theta.copy()
    bits.view(np.int32)[5] ^= 1
    slot = a.slots[1].copy()
    slot[3] = -slot[3] - 1
    later = a.counters._replace(t=a.counters.t + 1)
    other = a._replace(theta=bits, slots=(a.slots[0], slot), counters=later)
    assert repeat.same_bits(a, other) == ["theta", "slot 1", "t"]


def test_memory_that_grows_is_a_leak(tmp_path, monkeypatch):
    rig, repeat = rehearsal(tmp_path), module("repeat")
    sizes = iter([100, 100, 164])
    monkeypatch.setattr(rig, "memory", lambda: {"in use": 7, "pool": next(sizes)})
    next(sizes)
    assert repeat.leak(rig)["failed"] == "grew in bytes: pool by 64"
    monkeypatch.setattr(rig, "memory", lambda: {"in use": 7})
    assert repeat.leak(rig)["failed"] == ""


def test_every_way_to_run_a_step_is_measured(tmp_path, monkeypatch):
    rig, graphs = rehearsal(tmp_path), module("graphs")
    backend = rig.backend()
    seen = []

    class Step:
        """What is captured on a GPU."""

        launcher = "branches"
        steps_a_graph = None

    def loop(step, state, feed, n):
        seen.append((step.launcher, step.steps_a_graph))
        return state

    monkeypatch.setattr(rig, "backend", lambda graph="auto": backend)
    monkeypatch.setattr(backend, "compile", lambda build: Step(), raising=False)
    monkeypatch.setattr(backend, "loop", loop, raising=False)
    [(name, measure), *_] = graphs.parts(rig).items()
    found = measure()
    assert set(found) == set(graphs.WAYS)
    assert all(value > 0 for value in found.values())
    branching = [("branches", n) for n in (1, 4, 16, 64)]
    ways = [(None, 1), (None, 1), *branching, (None, 16)]
    assert seen[:: len(seen) // len(ways)] == ways
    shown = graphs.lines({name: found})
    assert len(shown) == len(ways)
    assert shown[0].startswith("classic-adamw: ")
    assert shown[0].endswith(" microseconds a step, call by call")


def test_a_wrong_product_and_a_refused_one_are_found(tmp_path, monkeypatch):
    rig, products = rehearsal(tmp_path), module("products")
    shape = (8, 16, 4, "left")
    assert products.judged(products.measured(rig, shape))["failed"] == ""

    def wrong(backend, a, b, out):
        np.matmul(a, b, out=out)
        out[0, 0] += 1

    monkeypatch.setattr(products, "multiply", wrong)
    failed = products.judged(products.measured(rig, shape))["failed"]
    assert failed.startswith("fp32 is ")

    def refuse(*_):
        raise xpnet.errors.BackendError("no algorithm for this product")

    monkeypatch.setattr(products, "multiply", refuse)
    found = products.judged(products.measured(rig, shape))
    assert "tf32 refused: no algorithm for this product" in found["failed"]
    assert "x bf16: no algorithm for this product" in products.lines({"x": found})


def test_an_epilogue_is_measured_like_the_product(tmp_path, monkeypatch):
    rig, products = rehearsal(tmp_path), module("products")
    found = products.measured(rig, (3, 5, 2, ""))
    assert found["fp32 bias+relu"] == {"refused": "not offered: the step takes a kernel of its own"}
    assert "x tf32 bias: not offered" in "\n".join(products.lines({"x": found}))
    assert products.judged(found)["failed"] == ""

    class Launcher:
        seen: ClassVar = []

        def affine(self, x, W, b, f, out):
            self.seen.append((x.shape, W.shape, b.shape, f, out.shape))
            return f == "relu"

    monkeypatch.setattr(type(rig.backend()), "launcher", Launcher(), raising=False)
    monkeypatch.setattr(products, "multiply", lambda backend, a, b, out: np.matmul(a, b, out=out))
    found = products.measured(rig, (3, 5, 2, ""))
    assert found["fp32 bias+relu"]["microseconds"] > 0
    assert "refused" in found["fp32 bias"]
    assert Launcher.seen[0] == ((3, 5), (5, 2), (2,), "identity", (3, 2))
    turned = products.measured(rig, (3, 5, 2, "left"))
    assert set(turned) == {"fp32", "tf32", "bf16"}, "only the layers' own products have a bias"


def test_products_have_the_shapes_and_the_work_of_the_limit():
    products, limit = module("products"), xpnet.bench.limit
    found = products.shapes((7, 5, 4, 3), 6)
    theirs = {p.what: (*p.A.shape, p.B.shape[1]) for p in limit.products((7, 5, 4, 3), 6)}
    assert {what: shape[:3] for what, shape in found.items()} == theirs


def test_the_roofline_by_hand(tmp_path, monkeypatch):
    roofline = module("roofline")
    rig = module("rig").Rig(tmp_path)
    found = {"versions": {"gpu": "NVIDIA H200"}, "copy": {"bytes_per_second": 4e12}}
    monkeypatch.setattr(rig, "results", lambda section: found if section == "machine" else {})
    wide = module("rig").workloads(rig)[-1]
    top = roofline.roof(rig, wide, "fp32")
    a, b, c = 784 * 4096, 4096 * 4096, 4096 * 10
    steps, samples = 8, 60_000
    assert top.flops == pytest.approx(samples * (4 * a + 6 * b + 6 * c) / steps)
    assert top.work == pytest.approx(top.flops / 67e12 * 1e6)
    assert top.binds == "work"
    assert top.microseconds == top.work
    assert top.memory == pytest.approx(top.bytes / 4e12 * 1e6)
    classic = module("rig").workloads(rig)[0]
    assert roofline.roof(rig, classic, "bf16").binds == "memory"
    found["versions"]["gpu"] = "another"
    unknown = roofline.roof(rig, wide, "fp32")
    assert unknown.work is None
    assert unknown.microseconds == unknown.memory
    assert roofline.Roof(1, 1, None, None, "").binds == "unknown"


@pytest.mark.parametrize(
    ("code", "text", "failed", "n_lines"),
    [
        (0, "========= ERROR SUMMARY: 0 errors", "", 0),
        (86, "== Invalid read\n========= ERROR SUMMARY: 2 errors", "2 errors", 2),
        (86, "========= RACECHECK SUMMARY: 1 hazard displayed", "1 hazard displayed", 1),
        (1, "a\nno driver in /usr/lib/x/y", "exit code 1: no driver in ...", 2),
        (9, "", "exit code 9: no output", 0),
        (0, "10 trainings", "it ended without a summary: it did not look at the trainings", 0),
    ],
)
def test_what_the_sanitizer_says(code, text, failed, n_lines):
    found = module("sanitizer").verdict(code, text)
    assert found["failed"] == failed
    alone = module("sanitizer").verdict(code, text, watched=False)
    assert bool(alone["failed"]) == bool(code), "a rehearsal has no tool to say anything"
    assert len(found.get("lines", [])) == n_lines


def test_without_the_sanitizer_it_says_so_and_with_it_every_tool_runs(tmp_path, monkeypatch):
    sanitizer, rig = module("sanitizer"), module("rig").Rig(tmp_path)
    monkeypatch.setattr(rig, "backend", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sanitizer, "PLACES", ())
    [missing] = sanitizer.parts(rig).values()
    assert missing()["summary"].startswith("not found")
    program = tmp_path / "compute-sanitizer"
    program.write_text('#!/bin/sh\necho "== $*"\necho "== ERROR SUMMARY: 3 errors"\nexit 86\n')
    program.chmod(0o755)
    parts = sanitizer.parts(rig)
    assert tuple(parts) == sanitizer.TOOLS
    found = parts["racecheck"]()
    assert (found["exit code"], found["summary"], found["failed"]) == (86, *["3 errors"] * 2)
    given, said = found["lines"]
    assert given.startswith("--tool racecheck --error-exitcode 86 ")
    assert "--report-api-errors no" in given, "a driver that lacks a function is no finding"
    assert said == "ERROR SUMMARY: 3 errors"


class CapturingStream:
    """A stream of CuPy's that writes down what happens; ``broken`` ones cannot end a capture."""

    broken = False
    seen: ClassVar[list] = []

    def __init__(self, non_blocking=False):
        assert non_blocking, "whoever uses the default stream would break the capture"

    def __enter__(self):
        self.seen.append("enter")

    def __exit__(self, *_):
        self.seen.append("exit")

    def begin_capture(self):
        self.seen.append("begin")

    def end_capture(self):
        self.seen.append("end")
        if self.broken:
            raise RuntimeError("the capture was invalidated")
        return types.SimpleNamespace(launch=self.seen.append)


@pytest.fixture
def capturing(monkeypatch):
    """The stream above in the place of CuPy's."""
    monkeypatch.setattr(CapturingStream, "seen", [])
    cuda = types.SimpleNamespace(Stream=CapturingStream, get_current_stream=lambda: "current")
    monkeypatch.setitem(sys.modules, "cupy", types.SimpleNamespace(cuda=cuda))
    return CapturingStream


def test_calls_are_captured_after_one_and_replayed_where_the_work_is(tmp_path, capturing):
    replay = module("rig").Rig(tmp_path).replay(lambda: capturing.seen.append("call"), 2)
    assert capturing.seen == ["call", "enter", "begin", "call", "call", "end", "exit"]
    replay()
    assert capturing.seen[-1] == "current"


def test_what_broke_a_capture_is_said_and_not_that_it_is_broken(tmp_path, capturing, monkeypatch):
    monkeypatch.setattr(capturing, "broken", True)

    def call():
        capturing.seen.append("call")
        if capturing.seen.count("call") > 1:
            raise ValueError("no memory while capturing")

    with pytest.raises(ValueError, match="no memory while capturing"):
        module("rig").Rig(tmp_path).replay(call, 2)
    assert capturing.seen[-2:] == ["end", "exit"], "the stream captures no longer"


def test_a_training_that_fails_says_why_in_its_own_words(tmp_path):
    accuracy, to_accuracy = module("accuracy"), importlib.import_module("to_accuracy")
    script = "import sys; sys.exit('Error: no GPU')"
    with pytest.raises(xpnet.errors.XpnetError, match=r"^exit code 1: Error: no GPU$"):
        accuracy.one(to_accuracy, [sys.executable, "-c", script])


@pytest.mark.parametrize(
    ("code", "said", "expected"),
    [
        (2, ["Error: no GPU here"], ""),
        (2, ["a warning", "Error: no GPU here"], ""),
        (2, ["Error: No gpu here"], ""),
        (0, [], "exit code 0, not 2: "),
        (2, [], "stderr does not end in the one line of its error: "),
        (2, ["Error: a GPU", "Error: no GPU"], "stderr does not end in the one line"),
        (2, ["Traceback (most recent call last):", "Error: no GPU"], "stderr does not end"),
        (2, ["Error: no GPU", "and more"], "stderr does not end"),
        (2, ["Error: something else"], "the error says something else: Error: something else"),
    ],
)
def test_what_a_fault_must_end_in(code, said, expected):
    found = module("faults").wrong({"exit code": code, "stderr": said}, 2, "GPU")
    assert found == expected or (expected and found.startswith(expected))


def test_a_harmed_checkpoint_is_found(tmp_path):
    faults = module("faults")
    found = {"exit code": 1, "stderr": ["Error: out of memory: lower --batch-size"]}
    saved = tmp_path / "checkpoint"
    saved.write_bytes(b"half")
    assert faults.wrong_beside(found, saved, b"whole") == "the checkpoint is not as it was"
    assert faults.wrong_beside(found, saved, b"half").startswith("the checkpoint cannot be read")


def test_nvidia_smi_is_asked_and_an_old_one_for_less(tmp_path, monkeypatch):
    machine = module("machine")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.nvidia_smi() == {"nvidia-smi": "not found"}
    program = tmp_path / "nvidia-smi"
    program.write_text('#!/bin/sh\ncase "$1" in *mig*) exit 2;; esac\necho "A GPU, 580.1, 9 MiB"\n')
    program.chmod(0o755)
    assert machine.nvidia_smi() == {
        "name": "A GPU", "driver_version": "580.1", "memory.total": "9 MiB",
    }  # fmt: skip
    program.write_text("#!/bin/sh\nexit 9\n")
    assert machine.nvidia_smi() == {"nvidia-smi": "exit code 9, 1 values"}


def test_a_table_that_cannot_be_shown_hides_no_failure(tmp_path):
    gpu = importlib.import_module("gpu")
    sheet = Sheet(tmp_path / "products.json")
    sheet.note(running="odd", planned=["odd", "late"])
    sheet.end({"failed": "no driver", "fp32": {}})
    shown = gpu.under(module("products").SECTION, sheet)
    assert shown[0].startswith("the results cannot be shown (KeyError")
    assert shown[1:] == ["FAILED: odd: no driver", "not run: late"]


class Place:
    """A backend that writes down how it is configured."""

    def configured(self, **settings):
        return settings


def test_contestants_ask_for_their_precision_and_their_use_of_graphs(tmp_path, monkeypatch):
    rig, speed = module("rig").Rig(tmp_path), module("speed")
    monkeypatch.setattr(xpnet.backends, "get", lambda name: Place())
    monkeypatch.setattr(speed, "Engine", lambda workload, backend, reference=False: backend)
    monkeypatch.setattr(speed, "Rival", lambda workload, name, load, drawn: (name, load.keywords))
    workload = module("rig").workloads(rig)[0]

    def built(name, precision):
        return speed.build(rig, name, workload, precision)

    assert built("xpnet-fused", "tf32") == {"precision": "tf32", "graph": "never"}
    assert built("xpnet-captured", "fp32") == {"precision": "fp32", "graph": "require"}
    assert isinstance(built("xpnet-plain", "fp32"), Place)
    with pytest.raises(xpnet.errors.UsageError, match="know no bf16"):
        built("xpnet-plain", "bf16")
    wanted = {"device": "cuda", "precision": "bf16"}
    assert built("torch-graph", "bf16") == ("torch-graph", wanted)
    prepared = []
    monkeypatch.setattr(speed, "ready", lambda troupe, *contest: prepared.append(contest))
    first = list(speed.parts(rig))
    assert [part.split(", ")[1] for part in first[:7]] == ["fp32"] * 5 + ["tf32", "bf16"]
    assert len(first) == 15
    sheet = Sheet(tmp_path / "speed.json")
    sheet.begin(first[0])
    sheet.end({})
    speed.parts(rig)
    assert [w.name for w, _ in prepared] == ["classic-adamw", "classic-momentum"], "what is next"
    for part in first[1:]:
        sheet.begin(part)
        sheet.end({})
    speed.parts(rig)
    assert len(prepared) == 2, "where nothing is left nobody is started"


@pytest.mark.kernels
def test_the_trainings_for_the_sanitizer_run_every_kernel(tmp_path, monkeypatch):
    from test_cuda_kernels import COMPILER, KERNELS, CudaOps, SimulatedBackend, Simulator

    if COMPILER is None:
        pytest.skip("the simulator needs g++")

    def on_arrays(primitive):
        """NumPy makes a number of an array without dimensions, CuPy does not."""

        def called(ops, *args):
            return primitive(
                ops, *(np.asarray(a) if isinstance(a, np.float32) else a for a in args)
            )

        return called

    for name in ("softmax_xent", "sigmoid_xent", "count"):
        monkeypatch.setattr(CudaOps, name, on_arrays(getattr(CudaOps, name)))
    simulator = Simulator(tmp_path)
    assert module("every_kernel").train_all(SimulatedBackend(simulator)) == 10
    assert set(simulator.launched) == KERNELS


def test_every_file_is_read_in_one_sitting():
    files = [BENCH / "gpu.py", *(BENCH / "gpu_sections").glob("*.py")]
    assert len(files) > 8
    assert all(path.read_text(encoding="utf-8").count("\n") <= 300 for path in files)


def test_json_is_standard(tmp_path):
    path = tmp_path / "a.json"
    xpnet.bench.sheet.write_json(path, {"a": [float("nan"), (1.0, -float("inf"))], 2: None})
    text = path.read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=pytest.fail) == {"a": ["nan", [1.0, "-inf"]], "2": None}
