"""``python -m xpnet`` is the command ``xpnet``."""

from .cli import main

main()
