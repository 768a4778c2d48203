"""The way of samples to a GPU, with streams and events that only remember what was called."""

import weakref

import numpy as np
import pytest

cupy = pytest.importorskip("cupy", reason="needs the wheel of CuPy; CI installs it")

from xpnet.backends import cupy as backend_module
from xpnet.backends.cuda import link as link_module
from xpnet.backends.cuda.link import CupyLink
from xpnet.backends.ring import Ring


class Log:
    """What was called, and on which device that was."""

    def __init__(self):
        self.calls = []
        self.device = None

    def note(self, *call):
        assert self.device == 1, "the device is current"
        self.calls.append(call)


@pytest.fixture
def log(monkeypatch):
    log = Log()

    class FakeStream:
        def __init__(self, name="copy", non_blocking=False):
            self.name = name
            if name == "copy":
                log.note("stream", non_blocking)

        def record(self, event):
            log.note("record", self.name, event.number)

        def wait_event(self, event):
            log.note("wait", self.name, event.number)

        def synchronize(self):
            log.calls.append(("synchronize", self.name))

    class FakeEvent:
        made = 0

        def __init__(self, *, disable_timing):
            assert disable_timing, "an event with the time costs more"
            self.number = FakeEvent.made
            FakeEvent.made += 1

        def synchronize(self):
            log.calls.append(("synchronize", self.number))

    class FakeArray(np.ndarray):
        """Memory of the GPU."""

        def set(self, host, stream):
            assert host.flags.c_contiguous
            log.note("copy", stream.name, len(host))
            self[...] = host

    compute = FakeStream("compute")
    monkeypatch.setattr(link_module.cupy.cuda, "Stream", FakeStream)
    monkeypatch.setattr(link_module.cupy.cuda, "Event", FakeEvent)
    monkeypatch.setattr(link_module.cupy.cuda, "get_current_stream", lambda: compute)
    monkeypatch.setattr(link_module.cupy, "empty", lambda s, d: np.empty(s, d).view(FakeArray))
    monkeypatch.setattr(link_module.cupyx, "empty_pinned", np.empty)
    return log


class Device:
    """The second GPU, current within."""

    id = 1

    def __init__(self, log):
        self.log = log

    def __enter__(self):
        self.log.device = 1

    def __exit__(self, *_):
        self.log.device = None


def test_the_order_of_events_is_that_of_double_buffering(log):
    link = CupyLink(Device(log))
    X = np.arange(9.0).reshape(9, 1)
    ring = Ring(link, [X], [X.dtype], batch_size=2, batches=1, n=9)
    ring.begin(np.arange(9)[::-1])
    seen = []
    for i, k in enumerate(ring.portions(0, 5)):
        assert k == 1
        half = 2 * (i % 2)
        seen += ring.arrays[0][half : half + (2 if i < 4 else 1), 0].tolist()
        log.calls.append(("steps", i))
    assert seen == X[::-1, 0].tolist()
    copied, freed = (0, 2), (1, 3)  # the numbers of the events of both halves

    def send(slot, rows=2):
        return [
            ("synchronize", copied[slot]),
            ("wait", "copy", freed[slot]),
            ("copy", "copy", rows),
            ("record", "copy", copied[slot]),
        ]

    def steps(i):
        return [
            ("wait", "compute", copied[i % 2]),
            ("steps", i),
            ("record", "compute", freed[i % 2]),
        ]

    assert log.calls == [
        ("stream", True),
        ("record", "compute", freed[0]),
        ("record", "compute", freed[1]),
        *send(0),
        *steps(0),
        *send(1),
        *steps(1),
        *send(0),
        *steps(2),
        *send(1),
        *steps(3),
        *send(0, rows=1),
        *steps(4),
    ]


def test_memory_is_given_back_when_no_copy_is_under_way(log):
    link = CupyLink(Device(log))
    array = weakref.ref(link.device_memory((2, 3), np.float32))
    pinned = weakref.ref(link.host_memory((2, 3), np.float32))
    alive = []
    log.calls = Watched(alive, array, pinned)
    del link
    assert alive == [(True, True)], "waited once, while the memory was there"
    assert array() is None
    assert pinned() is None


class Watched(list):
    """A list of calls that looks what is alive at each."""

    def __init__(self, alive, *references):
        super().__init__()
        self.alive, self.references = alive, references

    def append(self, call):
        assert call == ("synchronize", "copy")
        self.alive.append(tuple(r() is not None for r in self.references))


class FakePool:
    def __init__(self, free, used, limit):
        self.free, self.used, self.limit = free, used, limit

    def free_bytes(self):
        return self.free

    def used_bytes(self):
        return self.used

    def get_limit(self):
        return self.limit


@pytest.mark.parametrize(
    ("pool", "free"),
    [
        (FakePool(free=30, used=7, limit=0), 1030),
        (FakePool(free=30, used=7, limit=500), 493),
        (FakePool(free=30, used=7, limit=5000), 1030),
    ],
)
def test_free_memory_is_the_devices_and_the_pools_up_to_its_limit(log, monkeypatch, pool, free):
    monkeypatch.setattr(backend_module.cupy, "get_default_memory_pool", lambda: pool)
    monkeypatch.setattr(backend_module.cupy.cuda.runtime, "memGetInfo", lambda: (1000, 9999))
    backend = backend_module.on(Device(log))
    assert backend.free_bytes() == free
    link = backend.link()
    assert isinstance(link, CupyLink)
    assert log.calls == [("stream", True)]
