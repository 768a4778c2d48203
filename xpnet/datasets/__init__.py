"""Datasets that come with xpnet, and readers of files."""

from .files import Parts, read
from .idx import read_idx
from .mnist import mnist
from .prepare import class_weights, standardise

__all__ = ["Parts", "class_weights", "mnist", "read", "read_idx", "standardise"]
