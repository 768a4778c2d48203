"""What ``bench/gpu.py`` checks and measures on an NVIDIA GPU, one section a module.

A module's ``SECTION`` names its parts and shows their results. Nothing here loads a library for a
GPU before a part runs: the command itself must survive whatever these do.
"""

from . import accuracy, faults, graphs, machine, parity, products, repeat, sanitizer, speed

__all__ = ["SECTIONS"]

SECTIONS = {
    module.SECTION.name: module.SECTION
    for module in (machine, parity, repeat, products, speed, graphs, accuracy, sanitizer, faults)
}
"""In the order in which they run: the most important first."""
