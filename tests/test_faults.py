"""Full disks, places that cannot be written, broken pipes: exit code 74, one line, nothing lost."""

from __future__ import annotations

import errno
import functools
import json
import os
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest
from commands import TINY, command, environment, little_mnist, start, the_error, xpnet

from xpnet import cli, datasets
from xpnet.checkpoint import load_checkpoint

ONE_EPOCH = [*TINY, "--epochs", "1"]

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX files and pipes")
dev_full = pytest.mark.skipif(
    not os.path.exists("/dev/full"), reason="this system has no /dev/full"
)


@pytest.fixture
def small_disk(tmp_path):
    """Mount a small disk of ``size``, read-only if so wanted; unmounted in the end."""
    mounted = []

    def mount(size="1m", mode="rw"):
        folder = tmp_path / "disk"
        folder.mkdir()
        if not shutil.which("mount") or sys.platform != "linux":
            pytest.skip("only Linux mounts a tmpfs")
        options = ["mount", "-t", "tmpfs", "-o", f"size={size},{mode}", "tmpfs", str(folder)]
        done = subprocess.run(options, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"mount is refused: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def run(capsys, monkeypatch):
    """Run a command in this process, with little data: exit code, stdout and stderr."""
    monkeypatch.setattr(datasets, "mnist", little_mnist)

    def run(*arguments):
        code = cli.run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def no_training(run, monkeypatch):
    """Make it an internal error, with another exit code, to get as far as the data."""

    def fail():
        raise AssertionError("the training has begun")

    monkeypatch.setattr(datasets, "mnist", fail)


# ---- full ------------------------------------------------------------------------------------


@dev_full
def test_a_model_that_finds_the_disk_full(run):
    code, out, err = run(*ONE_EPOCH, "--save", "/dev/full")
    assert code == 74
    error = the_error(err)
    assert "/dev/full: No space left on device: free some space" in error
    assert "epoch 1" in out


@dev_full
@pytest.mark.parametrize("form", [[], ["--json"]], ids=["plain", "json"])
def test_a_full_disk_behind_stdout_costs_no_checkpoint(tmp_path, form):
    with open("/dev/full", "w") as full:
        code, _, err = xpnet(*ONE_EPOCH, *form, "--checkpoint", tmp_path / "c", stdout=full)
    assert code == 74
    assert "standard output: No space left on device: free some space" in the_error(err)
    assert load_checkpoint(tmp_path / "c").run.epoch == 1
    assert names(tmp_path) == ["c"]


@dev_full
@pytest.mark.parametrize("arguments", [["--version"], ["train", "--help"]], ids=" ".join)
def test_a_full_disk_behind_the_stdout_of_other_commands(arguments):
    with open("/dev/full", "w") as full:
        code, _, err = xpnet(*arguments, stdout=full)
    assert code == 74
    assert "standard output: No space left on device: free some space" in the_error(err)


def fill(path):
    """Write to ``path`` until the disk is full."""
    with open(path, "wb", buffering=0) as rest:
        try:
            while rest.write(b"x" * 4096):
                pass
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


@posix
def test_a_disk_that_fills_up_keeps_the_last_checkpoint(small_disk, run):
    folder = small_disk("1m")
    path = folder / "checkpoint"
    options = [*TINY, "--checkpoint", path]
    assert run(*options, "--epochs", "1")[0] == 0
    before = path.read_bytes()
    fill(folder / "rest")
    code, _, err = run(*options, "--epochs", "2")
    assert code == 74
    assert f"{path}: No space left on device: free some space" in the_error(err)
    assert path.read_bytes() == before
    assert load_checkpoint(path).run.epoch == 1
    assert names(folder) == ["checkpoint", "rest"]

    (folder / "rest").unlink()
    code, out, err = run(*options, "--epochs", "1", "--resume", "--json")
    assert code == 0, err
    assert [json.loads(line)["event"] for line in out.splitlines()] == ["result"]


@posix
def test_a_disk_too_small_for_the_first_checkpoint_stays_empty(small_disk, run):
    folder = small_disk("64k")
    code, _, err = run(*ONE_EPOCH, "--checkpoint", folder / "checkpoint")
    assert code == 74
    assert str(folder / "checkpoint") in the_error(err)
    assert names(folder) == []


# ---- not to be written -----------------------------------------------------------------------


@posix
@pytest.mark.parametrize("option", ["--save", "--checkpoint"])
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("missing/file", "No such file or directory: check the path"),
        ("plain/file", "Not a directory: name a file"),
        ("folder", "Is a directory: name a file"),
        ("n" * 300, "File name too long: choose a shorter name"),
    ],
    ids=["missing folder", "file as folder", "folder as file", "long name"],
)
def test_a_place_that_cannot_be_written_is_said_before_the_training(
    tmp_path, run, no_training, option, name, says
):
    (tmp_path / "plain").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    code, out, err = run(*TINY, option, tmp_path / name)
    assert (code, out) == (74, "")
    assert f"{tmp_path / name}: {says}" in the_error(err)
    assert names(tmp_path) == ["folder", "plain"]


def test_the_training_would_have_begun(tmp_path, run, no_training):
    # shows that the tests around this one can fail
    code, _, err = run(*TINY, "--save", tmp_path / "file")
    assert code == 70
    assert "the training has begun" in the_error(err)


@posix
@pytest.mark.parametrize("option", ["--save", "--checkpoint"])
def test_a_read_only_disk_is_said_before_the_training(small_disk, run, no_training, option):
    path = small_disk("64k", "ro") / "file"
    code, out, err = run(*TINY, option, path)
    assert (code, out) == (74, "")
    assert f"{path}: Read-only file system: choose a place" in the_error(err)


@functools.cache
def powerless():
    """What to put before a command so that permissions bind it, or a skip."""
    if os.geteuid() != 0:
        return []
    if not shutil.which("setpriv"):
        pytest.skip("permissions do not bind root, and there is no setpriv to give root up")
    prefix = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    done = subprocess.run([*prefix, *command("--version")], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"another user cannot run xpnet here: {done.stderr.strip()[-200:]}")
    return prefix


@posix
@pytest.mark.parametrize("option", ["--save", "--checkpoint"])
def test_a_folder_without_write_permission_is_said_before_the_training(tmp_path, option):
    prefix = powerless()
    (tmp_path / "mine").mkdir(mode=0o555)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        if folder.stat().st_uid == os.geteuid():
            folder.chmod(0o755)
    code, out, err = xpnet(*ONE_EPOCH, option, tmp_path / "mine" / "file", prefix=prefix)
    assert (code, out) == (74, "")
    assert "mine/file: Permission denied: check the permissions" in the_error(err)
    assert names(tmp_path / "mine") == []


@posix
def test_a_model_without_read_permission(tmp_path):
    prefix = powerless()
    (tmp_path / "model").write_bytes(b"secret")
    (tmp_path / "model").chmod(0)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        if folder.stat().st_uid == os.geteuid():
            folder.chmod(0o755)
    code, out, err = xpnet("evaluate", tmp_path / "model", prefix=prefix)
    assert (code, out) == (74, "")
    assert "model: Permission denied" in the_error(err)


def test_an_error_of_the_disk_while_writing_names_the_file(tmp_path, run, monkeypatch):
    path = tmp_path / "c"
    assert run(*ONE_EPOCH, "--checkpoint", path)[0] == 0
    before = path.read_bytes()

    def fail(descriptor):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    code, _, err = run(*ONE_EPOCH, "--checkpoint", path)
    assert code == 74
    assert f"Error: {path}: {os.strerror(errno.EIO)}" in the_error(err)
    assert path.read_bytes() == before
    assert names(tmp_path) == ["c"]


@posix
@pytest.mark.parametrize("flag", ["--save", "--checkpoint"])
@pytest.mark.parametrize("read", ["--data", "--labels"])
def test_what_is_read_is_not_written_over(tmp_path, run, read, flag):
    paths = {"--data": tmp_path / "x.npy", "--labels": tmp_path / "y.npy"}
    np.save(paths["--data"], np.eye(4))
    np.save(paths["--labels"], np.array([0, 1, 0, 1]))
    before = paths[read].read_bytes()
    (tmp_path / "other").symlink_to(paths[read])
    inputs = [word for name, path in paths.items() for word in (name, path)]
    code, _, err = run(*ONE_EPOCH, *inputs, flag, tmp_path / "other")
    assert code == 2
    assert f"{read} and {flag} name the same file: give each its own" in the_error(err)
    assert paths[read].read_bytes() == before


# ---- streams ---------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("form", [[], ["--json"]], ids=["plain", "json"])
def test_a_reader_that_goes_away_is_no_traceback(tmp_path, form):
    path = tmp_path / "checkpoint"
    with start(*TINY, "--epochs", "3", "--checkpoint", path, *form) as process:
        assert process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
    assert process.returncode == 74
    assert "standard output: Broken pipe: the program that read it has ended" in the_error(err)
    assert load_checkpoint(path).run.epoch >= 1


@posix
def test_a_table_whose_reader_goes_away_is_no_internal_error(tmp_path, run):
    assert run(*ONE_EPOCH, "--save", tmp_path / "model")[0] == 0
    reading, writing = os.pipe()
    os.close(reading)
    code, _, err = xpnet("show", tmp_path / "model", stdout=writing)
    os.close(writing)
    assert code == 74
    assert "standard output: Broken pipe: the program that read it has ended" in the_error(err)


@posix
@pytest.mark.parametrize("closing", [">&-", ">&- 2>&-"])
def test_closed_streams_do_no_harm(closing):
    line = shlex.join(command(*ONE_EPOCH))
    done = subprocess.run(
        ["sh", "-c", f"{line} {closing}"], env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0
    assert done.stderr == ""
