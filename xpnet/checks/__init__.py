"""Checks that prove something about a network, a backend or a training."""

from .gradcheck import gradcheck

__all__ = ["gradcheck"]
