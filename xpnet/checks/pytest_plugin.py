"""A pytest plugin for authors of Array API code: the fixtures ``xp`` and ``xp_pair``.

Both are parametrized over the installed backends, or over those that ``--xp-backends`` or the ini
option ``xp_backends`` names. No array library is loaded before a test uses a fixture, and a
fixture of the same name in a project's own tests takes precedence.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .pair import Pair

__all__ = ["Fixtures", "pytest_addoption", "pytest_configure"]

OPTION = "--xp-backends"
INI = "xp_backends"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option and the ini option, which hold names with commas between them."""
    text = "backends of the fixtures xp and xp_pair (default: every installed one)"
    group = parser.getgroup("xpnet", "array libraries, by xpnet")
    group.addoption(OPTION, metavar="NAME,...", help=text)
    parser.addini(INI, text, default="")


def pytest_configure(config: pytest.Config) -> None:
    """Make the fixtures, now that the options say for which backends."""
    given = config.getoption(OPTION) or config.getini(INI)
    names = named(given) if given else installed()
    others = [name for name in names if name != "numpy"]
    config.pluginmanager.register(fixtures(names, others or names, asked=bool(given)))


def named(text: str) -> list[str]:
    """The names in ``text``; one that is unknown is answered with the near match."""
    from ..backends import BACKENDS
    from ..errors import UsageError, check_choice

    try:
        names = [check_choice("backend", name.strip(), BACKENDS) for name in text.split(",")]
    except UsageError as error:
        raise pytest.UsageError(f"{OPTION}: {error}") from error
    return list(dict.fromkeys(names))


def installed() -> list[str]:
    """The backends whose package is there; none of them is loaded to find out."""
    from ..backends import BACKENDS

    return [name for name, entry in BACKENDS.items() if importlib.util.find_spec(entry.package)]


class Fixtures:
    """Base of what holds the fixtures, so that their parameters can be chosen late."""


def fixtures(names: list[str], others: list[str], *, asked: bool) -> Fixtures:
    """The fixtures for these backends; one that does not work is skipped unless ``asked`` for."""

    def backend(name: str) -> Any:
        from ..backends import get
        from ..errors import BackendError

        try:
            return get(name)
        except BackendError as error:
            if asked:
                raise
            pytest.skip(str(error))

    class Chosen(Fixtures):
        @pytest.fixture(params=names)
        def xp(self, request: pytest.FixtureRequest) -> Any:
            """An Array API namespace: that of NumPy, and of every other backend."""
            return backend(request.param).xp

        @pytest.fixture(params=others)
        def xp_pair(self, request: pytest.FixtureRequest) -> Pair:
            """NumPy in float64 beside another backend: place, to_numpy and assert_close."""
            from .pair import Pair

            return Pair(backend(request.param))

    return Chosen()
