"""A checkpoint has one writer: a second training is refused, and a killed one holds nothing."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time

import pytest
from commands import TINY, environment, refused, start, xpnet

from xpnet import UsageError
from xpnet.checkpoint import load_checkpoint
from xpnet.lock import sole_writer

fcntl = pytest.importorskip("fcntl", reason="Windows has no flock", exc_type=ImportError)

LONG = [*TINY, "--epochs", "1000", "--checkpoint-every", "0.1"]


def wait_until(condition, process):
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_second_training_is_refused_and_the_first_goes_on(tmp_path):
    path = tmp_path / "c"
    with start(*LONG, "--checkpoint", path) as first:
        wait_until(path.exists, first)
        for more in ([], ["--resume"]):
            error = refused(xpnet(*LONG, "--checkpoint", path, *more))
            assert f"{path} is in use by another training: wait until it has ended" in error
        before = path.stat().st_mtime_ns
        wait_until(lambda: path.stat().st_mtime_ns != before, first)
        first.terminate()
        first.communicate(timeout=60)
    assert load_checkpoint(path).run.epoch > 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c"]


def test_a_killed_training_goes_on_at_once(tmp_path):
    path = tmp_path / "c"
    with start(*LONG, "--checkpoint", path) as first:
        wait_until(path.exists, first)
        first.send_signal(signal.SIGKILL)
        first.communicate(timeout=60)
    assert (tmp_path / ".c.lock").exists(), "a killed process removes nothing"
    before = path.stat().st_mtime_ns
    with start(*LONG, "--checkpoint", path, "--resume") as again:
        wait_until(lambda: path.stat().st_mtime_ns != before, again)
        again.terminate()
        again.communicate(timeout=60)
    assert not (tmp_path / ".c.lock").exists()


def test_what_is_refused_leaves_no_lock(tmp_path):
    for wrong in (["--data", tmp_path / "nothing.csv"], ["--classes", "3"]):
        assert xpnet(*TINY, *wrong, "--checkpoint", tmp_path / "c")[0] != 0
        assert list(tmp_path.iterdir()) == []


def test_one_writer_at_a_time_also_through_a_link(tmp_path):
    os.symlink(tmp_path / "c", tmp_path / "link")
    with sole_writer(tmp_path / "c"):
        for name in ("c", "link"):
            with pytest.raises(UsageError, match="c is in use"), sole_writer(tmp_path / name):
                pass
        with sole_writer(tmp_path / "other"):
            pass
    with sole_writer(tmp_path / "link"), pytest.raises(UsageError), sole_writer(tmp_path / "c"):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["link"]


def test_an_error_within_releases(tmp_path):
    with pytest.raises(KeyboardInterrupt), sole_writer(tmp_path / "c"):
        raise KeyboardInterrupt
    with sole_writer(tmp_path / "c"):
        pass


def test_a_lock_that_was_removed_before_it_was_locked_is_none(tmp_path, monkeypatch):
    """Its holder ends between our opening the file and locking it: a third may make it anew."""
    flock, calls = fcntl.flock, []

    def slow(descriptor, how):
        calls.append(how)
        if len(calls) == 1:
            (tmp_path / ".c.lock").unlink()
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", slow)
    with sole_writer(tmp_path / "c"):
        assert (tmp_path / ".c.lock").exists()
        with pytest.raises(UsageError), sole_writer(tmp_path / "c"):
            pass
    assert len(calls) == 3


def raising(number):
    def flock(descriptor, how):
        raise OSError(number, os.strerror(number))

    return flock


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL])
def test_where_the_file_system_has_no_locks_there_is_none(tmp_path, monkeypatch, number):
    monkeypatch.setattr(fcntl, "flock", raising(number))
    with sole_writer(tmp_path / "c"), sole_writer(tmp_path / "c"):
        pass


def test_where_the_system_has_no_locks_there_is_none(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with sole_writer(tmp_path / "c"), sole_writer(tmp_path / "c"):
        assert list(tmp_path.iterdir()) == []


def test_where_no_file_can_be_made_there_is_none(tmp_path):
    (tmp_path / ".c.lock").mkdir()
    with sole_writer(tmp_path / "c"), sole_writer(tmp_path / "missing" / "c"):
        pass


def test_a_pipe_is_not_locked(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with sole_writer(tmp_path / "pipe"):
        assert [p.name for p in tmp_path.iterdir()] == ["pipe"]


def test_the_file_is_removed_while_it_is_locked(tmp_path, monkeypatch):
    """Afterwards it may be the file of the next writer, which would then be one of two."""
    unlink, seen = os.unlink, []

    def look(path, **settings):
        with open(path) as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        seen.append(path)
        unlink(path, **settings)

    monkeypatch.setattr(os, "unlink", look)
    with sole_writer(tmp_path / "c"):
        pass
    assert [path.name for path in seen] == [".c.lock"]


CONTEST = """
import os, pathlib, sys
from xpnet import UsageError
from xpnet.lock import sole_writer
path, held = pathlib.Path(sys.argv[1]), 0
while held < 200:
    try:
        with sole_writer(path):
            os.close(os.open(f"{path}.busy", os.O_CREAT | os.O_EXCL))
            os.unlink(f"{path}.busy")
            held += 1
    except UsageError:
        pass
"""


def test_processes_that_take_turns_are_never_two_at_a_time(tmp_path):
    program = [sys.executable, "-c", CONTEST, str(tmp_path / "c")]
    turns = [
        subprocess.Popen(program, env=environment(), stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    errors = [process.communicate(timeout=100)[1] for process in turns]
    assert errors == ["", "", ""]
    assert list(tmp_path.iterdir()) == []
