"""CPU seconds of a default MNIST epoch: xpnet on NumPy beside PyTorch's fused AdamW.

    python bench/epoch.py [--epochs 4] [--rounds 5]

Both do the same work in one process on one thread: the same initial weights, batches, learning
rates and update rule, interleaved epoch by epoch. Denormal floats slow the later epochs, so
each epoch is shown on its own; the ratio is of the medians over the rounds.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Iterator

import numpy as np
import threadpoolctl
import torch
import torch.nn.functional as F  # noqa: N812

import xpnet
from xpnet import backends
from xpnet.random import permutation
from xpnet.train import segments


def xpnet_epochs(network: xpnet.Network, train: xpnet.Dataset, epochs: int) -> Iterator[float]:
    """Train with xpnet; yield the training loss of each epoch."""
    hp = xpnet.Hyperparameters(epochs=epochs)
    for run in segments(network, train, hp=hp, backend=backends.get("numpy")):
        if run.step == 0:
            yield run.reports[-1].train_loss


def torch_epochs(network: xpnet.Network, train: xpnet.Dataset, epochs: int) -> Iterator[float]:
    """The same in PyTorch; yield the training loss of each epoch."""
    params = network.split(np, network.init(0))
    linears = []
    for p in params:
        linear = torch.nn.Linear(*p["W"].shape)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(np.ascontiguousarray(p["W"].T)))
            linear.bias.copy_(torch.from_numpy(p["b"]))
        linears.append(linear)
    model = torch.nn.Sequential(
        linears[0], torch.nn.ReLU(), linears[1], torch.nn.ReLU(), linears[2]
    )
    ours = xpnet.AdamW()
    optimizer = torch.optim.AdamW(
        [
            {"params": [linear.weight for linear in linears], "weight_decay": ours.weight_decay},
            {"params": [linear.bias for linear in linears], "weight_decay": 0.0},
        ],
        lr=ours.lr,
        fused=True,
    )
    steps = -(-train.n // 128)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, ours.lr, total_steps=steps * epochs, cycle_momentum=False
    )
    X, y = torch.from_numpy(train.X.copy()), torch.from_numpy(train.y.astype(np.int64))
    for epoch in range(epochs):
        order = torch.from_numpy(permutation(np, 0, epoch, train.n).astype(np.int64))
        total = torch.zeros(())
        for index in order.split(128):
            x = X.index_select(0, index).float().mul_(train.scale)
            loss = F.cross_entropy(model(x), y.index_select(0, index))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.detach() * len(index)
        yield float(total) / train.n


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    threadpoolctl.threadpool_limits(1)
    network = xpnet.mlp(784, 256, 128, 10)
    train, _ = xpnet.mnist()
    sides = {"xpnet": xpnet_epochs, "torch": torch_epochs}
    seconds = {(name, e): [] for name in sides for e in range(arguments.epochs)}
    losses = {}
    for _ in range(arguments.rounds):
        running = {name: run(network, train, arguments.epochs) for name, run in sides.items()}
        for epoch in range(arguments.epochs):
            for name, epochs in running.items():
                began = time.process_time()
                losses[name, epoch] = next(epochs)
                seconds[name, epoch].append(time.process_time() - began)

    print(f"numpy {np.__version__}, torch {torch.__version__}, Python {platform.python_version()}")
    print(f"{platform.machine()}, one thread, CPU seconds, medians of {arguments.rounds} rounds")
    print("epoch  xpnet s  torch s  ratio  xpnet loss  torch loss")
    for epoch in range(arguments.epochs):
        ours, theirs = (statistics.median(seconds[name, epoch]) for name in sides)
        print(
            f"{epoch + 1:5}  {ours:7.2f}  {theirs:7.2f}  {ours / theirs:5.2f}"
            f"  {losses['xpnet', epoch]:10.4f}  {losses['torch', epoch]:10.4f}"
        )
    later = range(1, arguments.epochs)
    ours, theirs = (
        [sum(seconds[name, epoch][i] for epoch in later) for i in range(arguments.rounds)]
        for name in sides
    )
    ratios = sorted(a / b for a, b in zip(ours, theirs, strict=True))
    print(
        f"epochs 2-{arguments.epochs} together: {statistics.median(ours):.2f} s beside "
        f"{statistics.median(theirs):.2f} s; ratio round by round: median "
        f"{statistics.median(ratios):.2f}, from {ratios[0]:.2f} to {ratios[-1]:.2f}"
    )


if __name__ == "__main__":
    main()
