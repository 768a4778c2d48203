"""The checks of arguments, at their limits, and the errors' place in the hierarchy."""

import math
from fractions import Fraction

import numpy as np
import pytest

from xpnet import (
    BackendError,
    CheckpointError,
    DataError,
    DeviceError,
    OutOfDeviceMemoryError,
    TrainingError,
    UsageError,
    XpnetError,
    errors,
)

NO_NUMBERS = [math.nan, math.inf, -math.inf, 10**400, "1", None, True, [1.0], 1j]


@pytest.mark.parametrize("value", [1, 2, 10**12])
def test_check_count_returns_whole_numbers_from_1_on(value):
    assert errors.check_count("n", value) == value


def test_check_count_has_another_minimum_where_asked():
    assert errors.check_count("n", 0, minimum=0) == 0
    with pytest.raises(UsageError, match=r"n must be a whole number >= 0, not -1"):
        errors.check_count("n", -1, minimum=0)


@pytest.mark.parametrize("value", [0, -1, 1.0, 1.5, *NO_NUMBERS[:3], *NO_NUMBERS[4:]])
def test_check_count_refuses_the_rest(value):
    with pytest.raises(UsageError, match=r"^the width must be a whole number >= 1, not "):
        errors.check_count("the width", value)


SMALLEST = 5e-324


@pytest.mark.parametrize(
    ("check", "accepted", "refused"),
    [
        (errors.check_positive, [SMALLEST, 1, 1e308, Fraction(1, 3)], [0, 0.0, -0.0, -SMALLEST]),
        (errors.check_not_negative, [0, 0.0, SMALLEST, 1e308], [-SMALLEST, -1]),
        (errors.check_fraction, [0, 0.0, 0.5, 1 - 2**-53], [1, 1.0, -SMALLEST, 2]),
    ],
    ids=["positive", "not negative", "fraction"],
)
def test_checks_of_numbers_end_exactly_at_their_limits(check, accepted, refused):
    for value in [*accepted, np.float32(0.5), np.float64(0.5)]:
        assert check("x", value) is value
    for value in [*refused, *NO_NUMBERS]:
        with pytest.raises(UsageError) as caught:
            check("the rate", value)
        assert str(caught.value).startswith("the rate must be ")
        assert repr(value) in str(caught.value)


def test_check_choice_suggests_the_near_match_or_lists_all():
    known = ["relu", "tanh", "sigmoid"]
    assert errors.check_choice("activation", "tanh", known) == "tanh"
    assert errors.check_choice("activation", "tanh", iter(known)) == "tanh"
    with pytest.raises(UsageError) as caught:
        errors.check_choice("activation", "sigmod", known)
    assert str(caught.value) == "unknown activation 'sigmod': did you mean 'sigmoid'?"
    with pytest.raises(UsageError) as caught:
        errors.check_choice("activation", "xyz", known)
    assert str(caught.value) == "unknown activation 'xyz': choose from relu, sigmoid, tanh"


@pytest.mark.parametrize(
    ("cls", "bases", "exit_code"),
    [
        (XpnetError, (Exception,), 1),
        (UsageError, (XpnetError, ValueError), 2),
        (BackendError, (UsageError,), 2),
        (DataError, (XpnetError, ValueError), 65),
        (CheckpointError, (DataError,), 65),
        (TrainingError, (XpnetError,), 1),
        (DeviceError, (XpnetError,), 75),
        (OutOfDeviceMemoryError, (XpnetError, MemoryError), 1),
    ],
)
def test_every_error_is_an_xpnet_error_with_its_exit_code(cls, bases, exit_code):
    assert cls.__bases__ == bases
    assert issubclass(cls, XpnetError)
    assert cls("what").exit_code == exit_code


@pytest.mark.parametrize(("name", "near"), [("Relu", "relu"), ("ELU", "elu"), ("rleu", "relu")])
def test_a_name_in_other_letters_is_the_nearest(name, near):
    assert errors.did_you_mean(name, ["elu", "gelu", "relu"]) == f"did you mean {near!r}?"
