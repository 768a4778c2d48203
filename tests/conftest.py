"""What tests share: backends to run on, small problems, a relative error, and the command line."""

from __future__ import annotations

import contextlib
import os

# One thread: two tests at a time do not fight over cores. The variables are for the processes that
# tests start; here NumPy may be loaded already.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import array_api_strict
import numpy as np
import pytest

from xpnet import backends, cli
from xpnet.machine import limit_threads

limit_threads(1)

# Before JAX is loaded, as the command line does for float64.
backends.allow_float64()

BACKENDS = [
    "numpy",
    "numpy-readonly",
    "numba",
    "array-api-strict",
    "device1",
    "jax",
    pytest.param("torch", marks=pytest.mark.torch),
    pytest.param("cupy", marks=pytest.mark.cupy),
]


COMPILE_FOR_SECONDS = {
    "test_a_checkpoint_of_one_backend_goes_on_on_another",
    "test_a_standardised_dataset_follows_too",
    "test_an_epoch_sees_every_sample_once",
    "test_data_of_a_backend_train_as_the_same_data_from_the_host",
    "test_every_backend_passes",
    "test_float32_and_other_backends_pass",
    "test_float32_training_agrees_with_numpy_for_twenty_steps",
    "test_float64_training_agrees_with_numpy",
    "test_regression_has_no_accuracy",
    "test_reports_hold_what_they_say",
    "test_results_live_where_the_inputs_live",
    "test_standardised_on_another_backend",
    "test_training_learns",
    "test_uniform_logits_cost_ln_c",
}
"""What trains on JAX in these belongs to the slow tests; all other backends are quick."""


def pytest_collection_modifyitems(items):
    for item in items:
        names = item.callspec.id.split("-") if hasattr(item, "callspec") else []
        if "jax" in names and item.originalname in COMPILE_FOR_SECONDS:
            item.add_marker(pytest.mark.slow)


class ReadOnlyBackend(type(backends.get("numpy"))):
    """NumPy whose data, labels and parameters from the host cannot be written to."""

    def from_host(self, host):
        array = super().from_host(host)
        array.flags.writeable = False
        return array


def make_backend(name):
    if name == "numpy-readonly":
        return ReadOnlyBackend("numpy", np, version=np.__version__)
    if name == "device1":
        return backends.get("array-api-strict", "device1")
    return backends.get(name)


@pytest.fixture(params=BACKENDS)
def backend(request):
    """Every backend; the GPU stand-in ``device1`` refuses NumPy and anything on another device."""
    return make_backend(request.param)


class HostReadError(Exception):
    """Something inside a step read a device array on the host."""


@contextlib.contextmanager
def no_host_reads():
    """Within, float(), bool(), int(), iteration, DLPack and NumPy cannot read a strict array."""
    names = ("__float__", "__bool__", "__int__", "__index__", "__iter__", "__dlpack__", "__array__")

    def refuse(self, *args, **kwargs):
        raise HostReadError("a step must not wait for the device")

    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            patch.setattr(array_api_strict._array_object.Array, name, refuse, raising=False)
        flags = array_api_strict.get_array_api_strict_flags()
        array_api_strict.set_array_api_strict_flags(
            boolean_indexing=False, data_dependent_shapes=False
        )
        try:
            yield
        finally:
            array_api_strict.set_array_api_strict_flags(
                boolean_indexing=flags["boolean_indexing"],
                data_dependent_shapes=flags["data_dependent_shapes"],
            )


def relative_error(a, b):
    """||a - b|| / ||b||, computed in float64; 0 where both hold the same, NaN or not."""
    a, b = np.asarray(a, np.float64).ravel(), np.asarray(b, np.float64).ravel()
    if np.array_equal(a, b, equal_nan=True):
        return 0.0
    return np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-300)


@pytest.fixture
def invoke(capsys, monkeypatch):
    """Run ``xpnet`` in this process, with no setting from outside: exit code, stdout, stderr."""
    for name in ("XPNET_BACKEND", "XPNET_DEVICE", "XPNET_DTYPE"):
        monkeypatch.delenv(name, raising=False)

    def invoke(*arguments):
        code = cli.run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return invoke
