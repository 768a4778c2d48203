"""``xpnet bench``: table, JSON lines, pictures, and what is refused."""

import os

import pytest
from commands import lines_of, little_mnist, passes, refused

from xpnet import cli, datasets
from xpnet.backends import peers
from xpnet.bench import workloads
from xpnet.bench.workloads import WORKLOADS
from xpnet.cli import bench as module

KEYS = {
    "event", "workload", "name", "first", "later", "wall", "samples_per_second", "to_limit",
    "to_fastest", "loss", "deviation", "remark",
}  # fmt: skip
FEW = ("--workload", "tiny", "--contestants", "xpnet-numpy,textbook", "--rounds", "1")


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, tmp_path):
    for name in ("FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(cli.cli.commands, "bench", module.bench)
    monkeypatch.setattr(peers, "thread_environment", lambda n: {})
    images = little_mnist()
    workloads.samples.cache_clear()
    monkeypatch.setattr(datasets, "mnist", lambda: images)
    yield
    workloads.samples.cache_clear()


@pytest.fixture
def bench(capsys, monkeypatch):
    """Run ``xpnet bench`` in this process on few samples: exit code, stdout, stderr."""
    monkeypatch.setattr(module, "SHARE", 0.005)

    def bench(*arguments):
        code = cli.run(["bench", *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return bench


def test_the_table_has_the_limit_and_a_row_each(bench):
    code, out, err = bench(*FEW)
    assert code == 0
    assert err.splitlines() == ["tiny: the first steps", "tiny: round 1 of 1"]
    assert "2-6-1 sigmoid, batch 4, sgd, 40 samples an epoch" in out
    for word in ("cpu s", "wall s", "samples/s", "x fastest", "x limit", "loss"):
        assert word in out
    for name in ("products", "xpnet-numpy", "textbook"):
        assert f"│ {name}" in out
    conclusion = out.splitlines()[-2]
    assert conclusion.startswith("tiny: ")
    assert " wins: " in conclusion
    assert conclusion.endswith("times as long")


def test_json_lines_are_contestants_and_a_result(bench):
    code, out, _ = bench(*FEW, "--json")
    assert code == 0
    *rows, result = lines_of(out)
    assert rows[0]["name"] == "products"
    assert {row["name"] for row in rows} == {"products", "xpnet-numpy", "textbook"}
    assert all(set(row) == KEYS for row in rows)
    assert set(rows[1]["to_limit"]) == {"median", "low", "high"}
    assert rows[1]["remark"] == ""
    assert result["event"] == "result"
    assert result["clock"] == "cpu"
    assert result["bytes_per_epoch"] > 0


def test_with_several_threads_the_wall_counts(bench, monkeypatch):
    pinned = []
    monkeypatch.setattr(peers, "thread_environment", lambda n: {"BENCH_THREADS": str(n)})
    monkeypatch.setattr(peers, "set_threads", pinned.append)
    monkeypatch.setenv("BENCH_THREADS", "")
    result = lines_of(bench(*FEW, "--json", "--threads", 2)[1])[-1]
    assert result["clock"] == "wall"
    assert set(pinned) == {2}
    assert os.environ["BENCH_THREADS"] == "2"


@pytest.mark.slow
def test_several_workloads_and_all_of_them(bench, monkeypatch):
    two = ("--workload", "tiny", "--workload", "online", "--workload", "tiny", *FEW[2:])
    assert results(bench(*two, "--json")) == ["tiny", "online"]
    monkeypatch.setattr(module, "WORKLOADS", {name: WORKLOADS[name] for name in ("tiny", "online")})
    assert results(bench("--workload", "all", *FEW[2:], "--json")) == ["tiny", "online"]
    monkeypatch.setattr(module, "USUAL", ("tiny",))
    assert results(bench(*FEW[2:], "--json")) == ["tiny"]


def results(run):
    return [line["workload"] for line in lines_of(run[1]) if line["event"] == "result"]


def test_who_cannot_take_part_is_a_line(bench, monkeypatch):
    missing = peers.PEERS["thinc"]._replace(module="nosuchmodule")
    monkeypatch.setitem(peers.PEERS, "thinc", missing)
    code, out, _ = bench("--workload", "tiny", "--contestants", "xpnet-numpy,thinc", "--rounds", 1)
    assert code == 0
    assert "thinc is not ranked: peer thinc is not installed" in out
    assert "xpnet-numpy is the fastest; there was no other to compare it with" in out


def test_a_picture_is_drawn(bench, tmp_path):
    code, _, _ = bench(*FEW, "--save", tmp_path / "bench.png")
    assert code == 0
    assert (tmp_path / "bench.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--workload", "clasic-adamw"), "did you mean 'classic-adamw'?"),
        (("--contestants", "textbok"), "did you mean 'textbook'?"),
        (("--rounds", "0"), "--rounds must be a whole number >= 1"),
        (("--threads", "0"), "--threads must be a whole number >= 1"),
        ((*FEW, "--save", "bench.xyz"), "what kind of picture"),
    ],
)
def test_what_makes_no_sense_is_refused(bench, arguments, message):
    assert message in refused(bench(*arguments))


def test_it_is_explained(bench):
    assert "who is the fastest" in " ".join(passes(bench("--help")).split())
