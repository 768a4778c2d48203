"""xpnet: multilayer perceptrons on every array library, backpropagation written once.

Read the source in the order ops, layers, losses, network, step, train.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .activations import ACTIVATIONS, Activation
from .checkpoint import Model, load, save
from .data import Dataset
from .datasets import mnist
from .errors import (
    BackendError,
    CheckpointError,
    DataError,
    DeviceError,
    OutOfDeviceMemoryError,
    TrainingError,
    UsageError,
    XpnetError,
)
from .evaluation import Evaluation, evaluate, gradients, predict, predictions
from .hyperparameters import Hyperparameters
from .layers import Dense, Dropout, LayerNorm
from .losses import (
    BinaryCrossEntropy,
    Huber,
    MeanAbsoluteError,
    MeanSquaredError,
    SoftmaxCrossEntropy,
)
from .network import Network, mlp
from .optim import SGD, Adam, AdamW, Momentum, Nesterov, RMSprop
from .schedules import Constant, Cosine, Exponential, OneCycle, Step
from .state import Report
from .train import fit
from .version import __version__

if TYPE_CHECKING:
    from .mistakes.audit import Audit, audit
    from .mistakes.explain import explain
    from .mistakes.explanation import Explanation
    from .symptoms.doctor import doctor

TOOLS = {
    "Audit": "mistakes",
    "Explanation": "mistakes",
    "audit": "mistakes",
    "doctor": "symptoms",
    "explain": "mistakes",
}
"""Where the tools for a network that does not learn live: loaded when they are first used."""

__all__ = [
    "ACTIVATIONS",
    "SGD",
    "Activation",
    "Adam",
    "AdamW",
    "Audit",
    "BackendError",
    "BinaryCrossEntropy",
    "CheckpointError",
    "Constant",
    "Cosine",
    "DataError",
    "Dataset",
    "Dense",
    "DeviceError",
    "Dropout",
    "Evaluation",
    "Explanation",
    "Exponential",
    "Huber",
    "Hyperparameters",
    "LayerNorm",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Model",
    "Momentum",
    "Nesterov",
    "Network",
    "OneCycle",
    "OutOfDeviceMemoryError",
    "RMSprop",
    "Report",
    "SoftmaxCrossEntropy",
    "Step",
    "TrainingError",
    "UsageError",
    "XpnetError",
    "__version__",
    "audit",
    "doctor",
    "evaluate",
    "explain",
    "fit",
    "gradients",
    "load",
    "mlp",
    "mnist",
    "predict",
    "predictions",
    "save",
]


def __getattr__(name: str) -> Any:
    if name not in TOOLS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{TOOLS[name]}", __name__), name)
