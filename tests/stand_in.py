"""A device that is as asynchronous as one can be: its queues run when they must, or at random.

Its arrays are NumPy's, so its results are NumPy's bit for bit, unless a queue did something before
what it should have waited for. Memory that it hands out holds 255 or NaN, and so does what the
host has staged once that is copied.
"""

from collections import deque

import numpy as np

from xpnet import backends
from xpnet.backends import Backend

NUMPY = backends.get("numpy")
QUEUES = ("compute", "copy")


class Event:
    """Which item of which queue must be done; None counts as done."""

    item = None


class Item:
    """Something in a queue: it runs ``action`` after ``after``, another item or None."""

    def __init__(self, action, after=None):
        self.action, self.after, self.done = action, after, False


class Queues:
    """A compute and a copy queue. ``late`` is the one that runs only when it is waited for.

    With "random", a seeded generator decides after each call what runs.
    """

    def __init__(self, late="random", seed=0):
        self.late, self.random = late, np.random.default_rng(seed)
        self.items = {name: deque() for name in QUEUES}

    def put(self, queue, action, after=None):
        item = Item(action, after)
        self.items[queue].append(item)
        self.let_run()
        return item

    def let_run(self):
        """Run what runs without being waited for."""
        for queue in QUEUES:
            willing = {"random": self.random.random() < 0.3}.get(self.late, queue != self.late)
            while willing and self.run_first(queue, force=False):
                willing = self.late != "random" or self.random.random() < 0.7

    def run_first(self, queue, force):
        """Run the first item, if there is one that may; ``force`` first runs what it waits for."""
        if not self.items[queue]:
            return False
        item = self.items[queue][0]
        if item.after is not None and not item.after.done:
            if not force:
                return False
            self.finish(item.after)
        self.items[queue].popleft()
        item.action()
        item.done = True
        return True

    def finish(self, item):
        """Run queues until ``item`` is done."""
        while item is not None and not item.done:
            queue = next(name for name in QUEUES if item in self.items[name])
            self.run_first(queue, force=True)

    def drain(self, queue):
        while self.run_first(queue, force=True):
            pass


class StandInLink:
    """A ``Link`` on NumPy's arrays."""

    def __init__(self, queues):
        self.queues = queues
        self.lengths = []

    def host_memory(self, shape, dtype):
        return poison(np.empty(shape, dtype))

    def device_memory(self, shape, dtype):
        self.lengths.append(shape[0])
        array = np.empty(shape, dtype)
        self.queues.put("compute", lambda: poison(array))  # the last who used it
        return array

    def event(self):
        return Event()

    def copy(self, host, place):
        assert host.flags.c_contiguous
        assert place.flags.c_contiguous
        assert (host.shape, host.dtype) == (place.shape, place.dtype)

        def copy():
            place[...] = host
            poison(host)

        self.queues.put("copy", copy)

    def record(self, queue, event):
        event.item = self.queues.put(queue, lambda: None)

    def wait(self, queue, event):
        self.queues.put(queue, lambda: None, after=event.item)

    def synchronize(self, event):
        self.queues.finish(event.item)


class StandIn(Backend):
    """A device with ``memory`` bytes, NumPy's primitives and recorded steps."""

    def __init__(self, memory, ring_bytes, *, late="random", seed=0, link=StandInLink):
        super().__init__("stand-in", np, device_name="device", version="")
        self.memory, self.ring_bytes = memory, ring_bytes
        self.queues = Queues(late, seed)
        self.make_link = link
        self.links = []
        self.largest = 0

    def free_bytes(self):
        return self.memory

    def link(self):
        self.links.append(self.make_link(self.queues))
        return self.links[-1]

    def ops(self):
        return NUMPY.ops()

    def compile(self, build, *, reference=False):
        return NUMPY.compile(build, reference=reference)

    def from_host(self, host):
        self.largest = max(self.largest, host.nbytes)
        return super().from_host(host)

    def loop(self, step, state, data, n):
        """Put into the compute queue; what comes out is written over the donated state."""

        def steps():
            done = NUMPY.loop(step, state, data, n)
            for place, array in zip(leaves(state), leaves(done), strict=True):
                if array is not place:
                    place[...] = array

        self.queues.put("compute", steps)
        return state

    def to_numpy(self, array):
        self.queues.drain("compute")
        return super().to_numpy(array)


def leaves(state):
    return [state.theta, *state.slots, *state.counters]


def poison(array):
    """Fill ``array`` with what nobody computes with unnoticed."""
    array[...] = np.nan if array.dtype.kind == "f" else np.iinfo(array.dtype).max
    return array
