"""Measuring: the same trainings in xpnet and in its peers, in turn, beside what limits them all.

``workloads`` are trained by ``contestants`` in a ``contest``; ``judge`` says who did the same
work, ``limit`` what the arithmetic alone takes, ``standing`` what the seconds mean. ``campaign``
measures and keeps one workload after the other; ``table`` and ``plot`` show them.
"""

__all__ = []
