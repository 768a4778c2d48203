"""xpnet: multilayer perceptrons on every array library, backpropagation written once.

Read the source in the order ops, layers, network, train.
"""

from .activations import ACTIVATIONS, Activation
from .checkpoint import Model, load, save
from .data import Dataset
from .datasets import mnist
from .errors import (
    BackendError,
    CheckpointError,
    DataError,
    TrainingError,
    UsageError,
    XpnetError,
)
from .evaluation import Evaluation, evaluate, gradients, predict
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

__all__ = [
    "ACTIVATIONS",
    "SGD",
    "Activation",
    "Adam",
    "AdamW",
    "BackendError",
    "BinaryCrossEntropy",
    "CheckpointError",
    "Constant",
    "Cosine",
    "DataError",
    "Dataset",
    "Dense",
    "Dropout",
    "Evaluation",
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
    "RMSprop",
    "Report",
    "SoftmaxCrossEntropy",
    "Step",
    "TrainingError",
    "UsageError",
    "XpnetError",
    "__version__",
    "evaluate",
    "fit",
    "gradients",
    "load",
    "mlp",
    "mnist",
    "predict",
    "save",
]
