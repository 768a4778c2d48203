"""Datasets that come with xpnet, and readers of files."""

from .idx import read_idx
from .mnist import mnist

__all__ = ["mnist", "read_idx"]
