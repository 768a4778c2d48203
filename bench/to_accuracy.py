"""How long until a saved model reads 98 % of the MNIST test images: xpnet beside other libraries.

    python bench/to_accuracy.py [--rounds 3] [--accuracy 0.98]

Each contestant is a process of its own on one thread, timed from its start to its end: imports,
unpacking the images, training, the look at the test set, saving. xpnet is its own command with its
defaults. PyTorch does the same: network, batches, AdamW and one cycle over six epochs.
scikit-learn has no such schedule: it takes epochs of Adam until it is there.
"""

from __future__ import annotations

import gzip
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import click

from xpnet.backends import peers

HIDDEN, BATCH, EPOCHS, LR = (256, 128), 128, 6, 3e-3
MOST_EPOCHS = 30


class Finish(NamedTuple):
    """One run: seconds of CPU and on the wall, the accuracy on the test images, and epochs."""

    cpu: float
    wall: float
    accuracy: float
    epochs: int


def images(kind: str):
    """Pixels (n, 784) float32 and labels (n,) of MNIST's ``train`` or ``t10k`` part."""
    import numpy as np

    folder = resources.files("xpnet") / "datasets" / "mnist"
    pixels, labels = (
        np.frombuffer(gzip.decompress((folder / f"{kind}-{name}-ubyte.gz").read_bytes()), np.uint8)
        for name in ("images.idx3", "labels.idx1")
    )
    return pixels[16:].reshape(-1, 784).astype(np.float32) / 255, labels[8:].astype(np.int64)


def train_torch(_accuracy: float, path: str, device: str, epochs: int) -> dict[str, float]:
    import torch
    from torch import nn

    torch.manual_seed(0)
    torch.set_num_threads(1)
    X, y = (torch.from_numpy(A).to(device) for A in images("train"))
    model = nn.Sequential(
        nn.Linear(784, HIDDEN[0]),
        nn.ReLU(),
        nn.Linear(*HIDDEN),
        nn.ReLU(),
        nn.Linear(HIDDEN[1], 10),
    ).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, fused=True)
    steps = epochs * -(-len(X) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LR, total_steps=steps, cycle_momentum=False
    )
    for _ in range(epochs):
        for index in torch.randperm(len(X), device=device).split(BATCH):
            optimizer.zero_grad(set_to_none=True)
            nn.functional.cross_entropy(model(X[index]), y[index]).backward()
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        X, y = (torch.from_numpy(A).to(device) for A in images("t10k"))
        reached = (model(X).argmax(1) == y).float().mean().item()
    torch.save(model.state_dict(), path)
    return {"accuracy": reached, "epochs": epochs}


def train_sklearn(accuracy: float, path: str, *_: object) -> dict[str, float]:
    import numpy as np
    from sklearn.neural_network import MLPClassifier

    X, y = images("train")
    X_test, y_test = images("t10k")
    model = MLPClassifier(HIDDEN, batch_size=BATCH, random_state=0)
    reached, epochs = 0.0, 0
    while reached < accuracy and epochs < MOST_EPOCHS:
        model.partial_fit(X, y, classes=np.arange(10))
        reached = model.score(X_test, y_test)
        epochs += 1
    np.savez(path, *model.coefs_, *model.intercepts_)
    return {"accuracy": reached, "epochs": epochs}


OTHERS = {"torch": train_torch, "scikit-learn": train_sklearn}


def command_of(name: str, accuracy: float, path: str) -> list[str]:
    """What starts contestant ``name``, which prints its result as the last line of JSON."""
    if name in OTHERS:
        return [sys.executable, __file__, "--only", name, "--accuracy", str(accuracy), path]
    options = ["--backend", name.removeprefix("xpnet-"), "--threads", "1", "--json"]
    return [sys.executable, "-m", "xpnet", "train", *options, "--save", path]


def run(name: str, accuracy: float) -> Finish:
    """One process of contestant ``name``, from its start to its end."""
    with tempfile.TemporaryDirectory() as folder:
        command = command_of(name, accuracy, str(Path(folder) / "model.npz"))
        return timed(command, {**os.environ, **peers.thread_environment(1)})


def timed(command: list[str], environment: dict[str, str]) -> Finish:
    """One process from its start to its end; the last line it prints is its result."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    result = subprocess.run(command, env=environment, capture_output=True, check=True)  # noqa: S603
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    last = json.loads(result.stdout.splitlines()[-1])
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Finish(cpu, wall, last.get("test_accuracy", last.get("accuracy")), last["epochs"])


def line(name: str, runs: list[Finish], accuracy: float) -> str:
    """Medians of a contestant's runs, and whether all of them got there."""
    cpu, wall = (statistics.median(column) for column in list(zip(*runs, strict=True))[:2])
    spread = f"{min(r.cpu for r in runs):.1f}-{max(r.cpu for r in runs):.1f}"
    worst = min(r.accuracy for r in runs)
    note = "" if worst >= accuracy else f"  did not reach {accuracy:.0%}"
    return f"{name:14} {cpu:6.1f} {spread:>12} {wall:7.1f} {worst:9.2%} {runs[0].epochs:7}{note}"


@click.command()
@click.argument("path", required=False)
@click.option("--only", type=click.Choice(list(OTHERS)), hidden=True)
@click.option("--device", default="cpu", hidden=True)
@click.option("--epochs", type=int, default=EPOCHS, hidden=True)
@click.option("--accuracy", type=float, default=0.98, show_default=True)
@click.option("--rounds", type=int, default=3, show_default=True)
def main(
    path: str | None, only: str | None, device: str, epochs: int, accuracy: float, rounds: int
) -> None:
    """Time xpnet, PyTorch and scikit-learn from start to a saved model of that accuracy."""
    if only:
        click.echo(json.dumps(OTHERS[only](accuracy, path or os.devnull, device, epochs)))
        return
    names = ["xpnet-numba", "xpnet-numpy", *OTHERS]
    runs: dict[str, list[Finish]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            runs[name].append(run(name, accuracy))
    click.echo(f"to {accuracy:.0%} on one thread, medians of {rounds} rounds, start to saved model")
    click.echo("contestant      cpu s      from-to  wall s  accuracy  epochs")
    for name in names:
        click.echo(line(name, runs[name], accuracy))


if __name__ == "__main__":
    main()
