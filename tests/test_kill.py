"""A training that is stopped or killed at any moment goes on as if nothing had happened."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from commands import TINY, environment, start, the_error, xpnet

from xpnet import load
from xpnet.checkpoint import load_checkpoint

posix = pytest.mark.skipif(os.name != "posix", reason="Windows has no such signals")

LONG = [*TINY, "--epochs", "1000"]


def weights_hash(path):
    return hashlib.sha256(load(path).theta.tobytes()).hexdigest()


def wait_for(process, condition):
    """Wait until ``condition()`` holds or the process has ended."""
    deadline = time.monotonic() + 60
    while process.poll() is None and not condition():
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.005)


def version_of(path):
    """Changes with every file that is written there."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns


@posix
@pytest.mark.slow
def test_killed_at_twenty_random_moments_the_weights_are_the_same_bits(tmp_path):
    options = [*TINY, "--epochs", "6", "--batch-size", "16", "--clip-norm", "1", "--dropout", "0.1"]
    code, _, err = xpnet(*options, "--save", tmp_path / "whole")
    assert code == 0, err
    rng = random.Random(20)
    path, model = tmp_path / "checkpoint", tmp_path / "resumed"
    resume = [*options, "--checkpoint", path, "--checkpoint-every", "0.05", "--resume"]
    resume += ["--save", model]
    hashes, progress, kills = [], [], 0
    while kills < 20:
        before = version_of(path)
        with start(*resume) as process:
            if rng.random() < 0.8:  # the others are killed while they start or resume
                wait_for(process, lambda before=before: version_of(path) != before)
            time.sleep(rng.uniform(0.0, 0.4))
            process.kill()
            process.communicate()
        if process.returncode == -signal.SIGKILL:
            kills += 1
        if path.exists():
            run = load_checkpoint(path).run  # whole, whenever the kill came
            progress.append((run.epoch, run.step))
            if run.epoch == 6:
                code, _, err = xpnet(*resume)
                assert code == 0, err
                hashes.append(weights_hash(model))
                path.unlink()
    if path.exists():
        code, _, err = xpnet(*resume)
        assert code == 0, err
        hashes.append(weights_hash(model))
    assert set(hashes) == {weights_hash(tmp_path / "whole")}
    middle = [(epoch, step) for epoch, step in progress if epoch < 6]
    assert len(set(middle)) >= 8, progress
    assert sum(step > 0 for _, step in middle) >= 4, progress
    leftovers = [p.name for p in tmp_path.iterdir() if p.name.endswith(".tmp")]
    assert len(leftovers) <= 1, leftovers  # of the last kill, at most


KILLED_INSIDE = """
import os, signal, sys
from xpnet.cli import run
real, count = os.{call}, 0
def kill(*arguments):
    global count
    count += 1
    if count == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments)
os.{call} = kill
sys.exit(run(sys.argv[2:]))
"""


@pytest.fixture(scope="module")
def three_epochs(tmp_path_factory):
    """A training of three epochs, and the hash of the weights that it ends with."""
    options = [*TINY, "--epochs", "3"]
    path = tmp_path_factory.mktemp("whole") / "model"
    code, _, err = xpnet(*options, "--save", path)
    assert code == 0, err
    return options, weights_hash(path)


@posix
@pytest.mark.parametrize(
    ("call", "count"),
    [
        ("replace", 2),
        pytest.param("fsync", 3, marks=pytest.mark.slow),
        pytest.param("fsync", 4, marks=pytest.mark.slow),
    ],
)
def test_killed_inside_a_write_the_last_checkpoint_is_whole_and_goes_on(
    tmp_path, three_epochs, call, count
):
    """Each write is fsync, rename, fsync: the second one is killed before each of the three."""
    options, whole = three_epochs
    path = tmp_path / "checkpoint"
    options = [*options, "--checkpoint", path]
    program = [sys.executable, "-c", KILLED_INSIDE.format(call=call), str(count)]
    done = subprocess.run([*program, *map(str, options)], env=environment(), capture_output=True)
    assert done.returncode == -signal.SIGKILL
    renamed = (call, count) == ("fsync", 4)
    assert load_checkpoint(path).run.epoch == (2 if renamed else 1)
    left = [p for p in tmp_path.iterdir() if p.suffix == ".tmp"]
    assert len(left) == (0 if renamed else 1)

    code, out, err = xpnet(*options, "--resume", "--save", tmp_path / "model", "--json")
    assert code == 0, err
    assert [json.loads(line).get("epoch") for line in out.splitlines()] == (
        [3, None] if renamed else [2, 3, None]
    )
    assert {p.name for p in tmp_path.iterdir()} == {"checkpoint", "model"}
    assert weights_hash(tmp_path / "model") == whole


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_the_checkpoint_be_written_and_says_how_to_go_on(tmp_path, number):
    path = tmp_path / "checkpoint"
    short = ["--batch-size", "16", "--checkpoint-every", "0.1"]
    with start(*LONG, *short, "--checkpoint", path) as process:
        wait_for(process, path.exists)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    error = the_error(err)
    assert number.name in error
    assert f"--checkpoint {path} --resume" in error
    run = load_checkpoint(path).run
    epochs_shown = sum(line.startswith("epoch ") for line in out.splitlines())
    assert run.epoch == epochs_shown
    assert f"after {run.epoch} epochs and {run.step} steps" in error
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint"]


@posix
def test_a_signal_without_checkpoint_says_what_would_have_kept_the_training():
    with start(*LONG) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--checkpoint FILE" in the_error(err)


SLOW_SEGMENT = """
import importlib, signal, sys, time
from xpnet import cli
module = importlib.import_module("xpnet.cli.train")
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
def handlers():
    return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
def segments(*arguments, **settings):
    before = handlers()
    print("in a segment", flush=True)
    while handlers() == before:
        time.sleep(0.1)
    print("still in it", flush=True)
    time.sleep(60)
    yield
module.segments = segments
sys.argv = ["xpnet", "train", "--epochs", "1"]
cli.main()
"""


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_stops_within_a_segment(number):
    program = [sys.executable, "-c", SLOW_SEGMENT]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(program, env=environment(), **pipes) as process:
        assert process.stdout.readline() == "in a segment\n"
        process.send_signal(number)
        assert process.stdout.readline() == "still in it\n"  # two at once would come as one
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert "at once" in the_error(err)


@posix
@pytest.mark.slow
def test_a_signal_at_the_very_end_loses_nothing(tmp_path):
    # whichever side of the last segment it meets, the checkpoint can be gone on from
    path = tmp_path / "checkpoint"
    options = [*TINY, "--epochs", "2", "--checkpoint", path]
    with start(*options) as process:
        for _ in range(2):
            process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode in (0, 143)
    code, out, err = xpnet(*options, "--resume", "--json")
    assert (code, err) == (0, "")
    assert len(out.splitlines()) == 1
