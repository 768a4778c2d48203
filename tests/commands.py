"""Running ``xpnet`` as a process of its own, for tests of signals, pipes and full disks."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from xpnet import Dataset

TINY = ["train", "--hidden", "8", "--threads", "1"]
"""A training whose epoch takes a fraction of a second."""


def environment(**changes):
    """The environment without what changes the output of xpnet, with ``changes``."""
    foreign = ("XPNET_", "NO_COLOR", "FORCE_COLOR", "TTY_", "COLUMNS", "TERM", "PYTHONUNBUFFERED")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {**kept, **changes}


def command(*arguments):
    return [sys.executable, "-m", "xpnet", *map(str, arguments)]


def start(*arguments, prefix=(), **settings):
    """Start xpnet; its output is read through pipes unless ``settings`` say otherwise."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    settings = {"env": environment(), **pipes, **settings}
    return subprocess.Popen([*prefix, *command(*arguments)], **settings)


def xpnet(*arguments, **settings):
    """Run xpnet to its end: exit code, stdout and stderr."""
    with start(*arguments, **settings) as process:
        out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def the_error(err):
    """The one ``Error: `` line, which is the last on stderr; there is no traceback."""
    lines = err.splitlines()
    assert lines, "nothing on stderr"
    assert lines[-1].startswith("Error: "), err
    assert sum(line.startswith("Error: ") for line in lines) == 1, err
    assert "Traceback" not in err, err
    return lines[-1]


def little_mnist():
    """Four hundred random images, in two parts as MNIST has them."""
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, (400, 784), dtype=np.uint8)
    y = rng.integers(0, 10, 400).astype(np.uint8)
    scale = float(np.float32(1 / 255))
    return Dataset(X[:300], y[:300], scale=scale), Dataset(X[300:], y[300:], scale=scale)


def lines_of(out):
    """The JSON objects that a command printed, one a line."""
    return [json.loads(line, parse_constant=pytest.fail) for line in out.splitlines()]


def passes(result):
    """What a command printed that must have gone well."""
    code, out, err = result
    assert (code, err) == (0, "")
    return out


def refused(result, code=2):
    """The one-line error of a command that must have failed."""
    assert result[0] == code, result
    return the_error(result[2])
