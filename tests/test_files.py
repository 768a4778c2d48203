"""Whatever happens to a writer, the old or the new file is there, whole, and nothing else."""

from __future__ import annotations

import errno
import os
import stat

import pytest

from xpnet import files
from xpnet.files import check_writable, remove_leftovers, write_atomically


class PowerCutError(BaseException):
    """Stands for whatever is no ordinary error: Ctrl-C, SystemExit."""


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def raising(error):
    def fail(*args, **kwargs):
        raise error

    return fail


def test_a_new_and_an_old_file_are_written_whole(tmp_path):
    path = tmp_path / "model"
    write_atomically(path, b"first")
    assert path.read_bytes() == b"first"
    write_atomically(path, b"second")
    assert path.read_bytes() == b"second"
    assert names(tmp_path) == ["model"]


@pytest.mark.parametrize("error", [OSError(errno.EIO, "I/O error"), PowerCutError()], ids=str)
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failure_before_the_rename_keeps_the_old_file_and_no_temporary(
    tmp_path, monkeypatch, call, error
):
    path = tmp_path / "model"
    write_atomically(path, b"old")
    monkeypatch.setattr(os, call, raising(error))
    with pytest.raises(type(error)) as caught:
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["model"]
    if isinstance(error, OSError):
        assert caught.value.filename == str(path)


def test_the_temporary_file_is_there_whole_until_the_rename(tmp_path, monkeypatch):
    # shows that the test above would see a temporary file that is left
    path = tmp_path / "model"
    seen = []

    def look(source, target):
        seen.append((source.read_bytes(), source.parent, names(tmp_path)))
        raise PowerCutError

    monkeypatch.setattr(os, "replace", look)
    with pytest.raises(PowerCutError):
        write_atomically(path, b"new")
    [(content, folder, found)] = seen
    assert content == b"new"
    assert folder == tmp_path
    assert len(found) == 1
    assert found != ["model"]


@pytest.mark.skipif(os.name != "posix", reason="only POSIX can force a folder to disk")
def test_file_then_rename_then_folder_go_to_disk(tmp_path, monkeypatch):
    steps = []
    fsync, replace = os.fsync, os.replace

    def note_fsync(descriptor):
        kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        steps.append(f"fsync {kind}")
        fsync(descriptor)

    def note_replace(source, target):
        steps.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_replace)
    write_atomically(tmp_path / "model", b"content")
    assert steps == ["fsync file", "rename", "fsync folder"]


def test_a_failed_write_keeps_the_old_file_and_names_it(tmp_path, monkeypatch):
    path = tmp_path / "model"
    write_atomically(path, b"old")

    class FullDisk(type(tmp_path)):
        def open(self, *args, **kwargs):
            super().open(*args, **kwargs).close()  # the file is there, and stays empty
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files, "real_path", FullDisk)
    with pytest.raises(OSError, match="No space left") as caught:
        write_atomically(path, b"new")
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["model"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_device_is_written_to_directly_and_named_when_it_is_full():
    with pytest.raises(OSError, match="/dev/full") as caught:
        write_atomically(files.Path("/dev/full"), b"content")
    assert caught.value.errno == errno.ENOSPC
    assert os.path.exists("/dev/full")


def test_a_symbolic_link_stays_and_the_file_behind_it_changes(tmp_path):
    (tmp_path / "there").mkdir()
    real, link = tmp_path / "there" / "model", tmp_path / "link"
    real.write_bytes(b"old")
    try:
        link.symlink_to(real)
    except OSError as error:
        pytest.skip(f"no symbolic links here: {error}")
    check_writable(link)
    write_atomically(link, b"new")
    assert link.is_symlink()
    assert real.read_bytes() == b"new"
    assert names(tmp_path / "there") == ["model"]


def test_check_writable_leaves_the_folder_as_it_was(tmp_path):
    check_writable(tmp_path / "new")
    assert names(tmp_path) == []
    (tmp_path / "old").write_bytes(b"old")
    check_writable(tmp_path / "old")
    assert names(tmp_path) == ["old"]
    assert (tmp_path / "old").read_bytes() == b"old"


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("missing/model", errno.ENOENT),
        ("plain/model", errno.ENOTDIR),
        ("n" * 300, errno.ENAMETOOLONG),
        (".", errno.EISDIR),
    ],
)
@pytest.mark.skipif(os.name != "posix", reason="Windows has other error numbers")
def test_check_writable_and_write_fail_alike_and_name_the_file(tmp_path, name, number):
    (tmp_path / "plain").write_bytes(b"")
    path = tmp_path / name
    for action in (check_writable, lambda path: write_atomically(path, b"x")):
        with pytest.raises(OSError, match=name[:50]) as caught:
            action(path)
        assert caught.value.errno == number
        assert caught.value.filename == str(path)
    assert names(tmp_path) == ["plain"]


def test_leftovers_of_killed_writers_go_and_everything_else_stays(tmp_path):
    for name in ("run[1]", ".run[1].17.tmp", ".run[1].1.17.tmp", ".run.17.tmp", ".run[1].x.tmp"):
        (tmp_path / name).write_bytes(b"")
    remove_leftovers(tmp_path / "run[1]")
    assert names(tmp_path) == [".run.17.tmp", ".run[1].1.17.tmp", ".run[1].x.tmp", "run[1]"]
