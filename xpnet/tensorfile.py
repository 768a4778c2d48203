"""A file of named tensors and some JSON: safetensors with a SHA-256 over everything in it.

Source of the container: the safetensors format; it holds no code, and nothing is pickled.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from .errors import CheckpointError, UsageError, XpnetError
from .files import write_atomically
from .types import NumpyArray

__all__ = ["FORMAT", "read", "refusing", "write"]

FORMAT = 1
"""The version of what the JSON means; files of every version up to this one can be read."""

NONSENSE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What a file with a right hash and a senseless content can make Python raise."""


def write(path: Path, tensors: Mapping[str, NumpyArray], spec: dict[str, Any]) -> None:
    """Write tensors and JSON, atomically. Raises OSError; UsageError for what JSON cannot hold."""
    arrays = {
        name: np.ascontiguousarray(array).reshape(array.shape) for name, array in tensors.items()
    }
    try:
        text = json.dumps(spec, allow_nan=False, default=np.generic.item)
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"{path}: the model holds what JSON cannot: {error}") from error
    metadata = {"format": str(FORMAT), "xpnet": text}
    metadata["sha256"] = fingerprint(arrays, metadata)
    write_atomically(path, safetensors.numpy.save(arrays, metadata))


def read(path: Path) -> tuple[dict[str, NumpyArray], dict[str, Any]]:
    """The tensors and the JSON of a file; only an undamaged file of ours gets through."""
    content = path.read_bytes()
    try:
        tensors = safetensors.numpy.load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    except (SafetensorError, *NONSENSE) as error:
        raise CheckpointError(f"{path}: damaged, or no safetensors file ({error})") from error
    metadata = header.get("__metadata__") or {}
    if "xpnet" not in metadata:
        raise CheckpointError(f"{path}: a safetensors file, but not written by xpnet")
    if metadata.get("format") != str(FORMAT):
        raise CheckpointError(
            f"{path}: format {metadata.get('format')}, but this xpnet reads format {FORMAT}: "
            "pip install --upgrade xpnet"
        )
    if metadata.pop("sha256", None) != fingerprint(tensors, metadata):
        raise CheckpointError(f"{path}: damaged: its content does not match its SHA-256")
    with refusing(path):
        return tensors, dict(json.loads(metadata["xpnet"]))


def fingerprint(tensors: Mapping[str, NumpyArray], metadata: Mapping[str, str]) -> str:
    """SHA-256 over the metadata and the name, dtype, shape and bytes of each tensor."""
    digest = hashlib.sha256(json.dumps(dict(metadata), sort_keys=True).encode())
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


@contextlib.contextmanager
def refusing(path: Path) -> Iterator[None]:
    """Turn whatever a senseless file sets off within into a CheckpointError that names it."""
    try:
        yield
    except XpnetError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except NONSENSE as error:
        what = f"{type(error).__name__}: {error}"
        raise CheckpointError(f"{path}: not written by this version of xpnet ({what})") from error
