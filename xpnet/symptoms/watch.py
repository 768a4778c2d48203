"""Watching a training: vitals after each epoch, and at the end the verdicts.

It only looks on. The probe batch is drawn once from the training set, and what it computes has
arrays of its own, so that a training that is watched ends at the same bits.
"""

from __future__ import annotations

import numpy as np

from ..backends import Backend
from ..data import Dataset
from ..evaluation import Evaluation
from ..host_data import placed
from ..hyperparameters import Hyperparameters
from ..losses import BinaryCrossEntropy, SoftmaxCrossEntropy
from ..network import Network
from ..source import working_bytes
from ..state import Run, initial_state, to_host
from ..types import Array
from .case import Case
from .doctor import examine
from .facts import Facts, class_counts, gather_facts
from .history import History, read_history
from .leak import shared_samples
from .origin import find_origin
from .verdict import Verdict
from .vitals import Vitals, vitals

__all__ = ["Watch"]

PROBE = 512
"""Samples of the probe batch: a class of a tenth of all is among them for certain, and what is
done with them takes about a thirtieth of the time of an epoch of MNIST."""


class Watch:
    """Vitals of a training on ``backend``, taken as ``observe`` is given its Run.

    ``train`` is the training set on the host, of which a validation part is yet to be split off;
    ``start`` is the Run, on the host, that is gone on from. ``reference`` says that the training
    runs with the plain primitives.
    """

    def __init__(
        self,
        network: Network,
        train: Dataset,
        hp: Hyperparameters,
        backend: Backend,
        *,
        start: Run | None = None,
        reference: bool = False,
    ) -> None:
        self.network, self.hp, self.backend, self.reference = network, hp, backend, reference
        self.train, self.validation = train, None
        if hp.split_fraction:
            self.train, self.validation = train.split(hp.split_fraction, hp.seed)
        batch_size = min(hp.batch_size, self.train.n)
        epoch_steps = -(-self.train.n // batch_size)
        self.run = start or Run(initial_state(network, hp), 0, 0, epoch_steps, 0.0, ())
        self.x, self.y = self.draw_probe()
        self.vitals: list[Vitals] = []
        self.theta: Array | None = None
        self.examine_weights()

    def draw_probe(self) -> tuple[Array, Array]:
        """The probe batch on the backend."""
        rng = np.random.default_rng(0)
        rows = np.sort(rng.permutation(self.train.n)[:PROBE])
        network, hp, ops = self.network, self.hp, self.backend.reference_ops()
        probe = self.train.rows(rows).prepare(
            network.n_in, network.n_out, hp.loss, self.backend, hp.dtype
        )
        dtype = getattr(self.backend.xp, hp.dtype)
        x = ops.gather(probe.X, ops.rows(0, probe.n), probe.shift, probe.scale, dtype)
        return x, probe.y

    def observe(self, run: Run) -> None:
        """Remember the newest Run; take vitals where an epoch is over. Waits for the device."""
        self.run = to_host(self.backend, run)  # the training goes on and overwrites it
        if run.step == 0:
            self.examine_weights()

    def examine_weights(self) -> None:
        """Take the vitals of the newest weights."""
        theta, place = self.run.state.theta, self.backend.asarray
        found = vitals(
            self.network, place(theta), self.x, self.y, self.hp.loss, self.theta,
            epoch=self.run.epoch,
        )  # fmt: skip
        self.vitals.append(found)
        self.theta = theta

    def verdicts(
        self,
        test_set: Dataset | None = None,
        test: Evaluation | None = None,
        *,
        failed: bool = False,
    ) -> list[Verdict]:
        """What is wrong with the training so far, the surest first.

        ``test`` is the outcome on ``test_set``. ``failed`` says that it stopped because the loss
        was no longer finite: the steps since the newest Run are repeated to see where that began.
        """
        rows = [report._asdict() for report in self.run.reports]
        if rows and test is not None:
            rows[-1] |= {"test_loss": test.loss, "test_accuracy": test.accuracy}
        history = read_history(rows) if rows else History({}, 0)
        origin = None
        if failed:
            network, hp = self.network, self.hp
            reserve = working_bytes(network, hp, self.train.n)
            data = placed(
                self.train, network.n_in, network.n_out, hp.loss, self.backend, hp.dtype, reserve
            )
            origin = find_origin(network, data, hp, self.backend, self.run, not self.reference)
        shared = [
            shared_samples(name, self.train, other)
            for name, other in (("validation", self.validation), ("test", test_set))
            if other is not None
        ]
        facts = self.facts(test_set)
        return examine(Case(history, facts, tuple(self.vitals), tuple(shared), origin))

    def facts(self, test_set: Dataset | None) -> Facts:
        """What is known of the training: its loss, and the classes in each part of the data."""
        loss, n_out = self.hp.loss, self.network.n_out
        weighted = self.train.weight is not None
        binary = isinstance(loss, BinaryCrossEntropy) and n_out == 1
        if not (binary or isinstance(loss, SoftmaxCrossEntropy)):
            return gather_facts(None, None, None, loss, None, None, 0.0, weighted)
        n_classes = 2 if binary else max(2, n_out)
        counts = {}
        for name, part in (
            ("accuracy", self.train),
            ("val_accuracy", self.validation),
            ("test_accuracy", test_set),
        ):
            if part is not None:
                y = part.y > 0.5 if binary else part.y  # BCE takes shares for labels, too
                counts[name] = class_counts(y, n_classes, name)
        facts = gather_facts(n_classes, None, None, loss, None, None, 0.0, weighted)
        return facts._replace(counts=counts, names=self.train.names)
