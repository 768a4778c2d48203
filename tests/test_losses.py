"""What losses count, and which targets they take; their values are checked in test_network."""

import numpy as np
import pytest
from conftest import relative_error

import xpnet

LOGITS = np.asarray([[2.0, -1.0, 0.5], [0.1, 0.2, 0.0], [-3.0, -2.0, -1.0], [1.0, 5.0, 2.0]])


def evaluate(backend, loss, out, target):
    result = loss(backend.ops(), backend.asarray(out), backend.asarray(target), None, 1.0)
    return backend.to_numpy(result.loss_sum).item(), int(backend.to_numpy(result.n_correct))


def test_softmax_counts_the_samples_whose_largest_logit_is_the_label(backend):
    labels = np.asarray([0, 2, 2, 0], np.int32)
    assert evaluate(backend, xpnet.SoftmaxCrossEntropy(), LOGITS, labels)[1] == 2
    distributions = np.eye(3)[labels] * 0.8 + 0.1
    assert evaluate(backend, xpnet.SoftmaxCrossEntropy(), LOGITS, distributions)[1] == 2


def test_multilabel_counts_the_samples_with_all_labels_right(backend):
    right = (LOGITS > 0) * 1.0
    one_wrong = right.copy()
    one_wrong[3, 0] = 0.0
    assert evaluate(backend, xpnet.BinaryCrossEntropy(), LOGITS, right)[1] == 4
    assert evaluate(backend, xpnet.BinaryCrossEntropy(), LOGITS, one_wrong)[1] == 3


def test_uniform_logits_cost_ln_c(backend):
    loss, _ = evaluate(
        backend, xpnet.SoftmaxCrossEntropy(), np.zeros((1, 10)), np.asarray([3], np.int32)
    )
    assert loss == pytest.approx(np.log(10), rel=1e-15)
    loss, _ = evaluate(backend, xpnet.BinaryCrossEntropy(), np.zeros((1, 4)), np.ones((1, 4)))
    assert loss == pytest.approx(np.log(2), rel=1e-15)


def test_bce_with_far_logits_is_finite_and_right(backend):
    out = np.asarray([[1000.0], [-1000.0], [-1000.0]])
    target = np.asarray([1.0, 0.0, 1.0])
    assert evaluate(backend, xpnet.BinaryCrossEntropy(), out, target) == (1000.0, 2)


@pytest.mark.torch
@pytest.mark.parametrize(
    ("ours", "theirs", "binary"),
    [
        (xpnet.SoftmaxCrossEntropy(), "cross_entropy", False),
        (xpnet.BinaryCrossEntropy(), "binary_cross_entropy_with_logits", True),
        (xpnet.MeanSquaredError(), "mse_loss", True),
        (xpnet.MeanAbsoluteError(), "l1_loss", True),
        (xpnet.Huber(), "huber_loss", True),
    ],
)
def test_losses_and_gradients_are_those_of_pytorch(ours, theirs, binary):
    torch = pytest.importorskip("torch")
    target = (LOGITS > 0.3) * 1.0 if binary else np.asarray([0, 2, 2, 0], np.int64)
    out = torch.tensor(LOGITS, requires_grad=True)
    value = getattr(torch.nn.functional, theirs)(out, torch.tensor(target))
    value.backward()
    result = ours(xpnet.backends.get("numpy").ops(), LOGITS, target, None, 1 / len(LOGITS))
    assert result.loss_sum / len(LOGITS) == pytest.approx(value.item(), rel=1e-14)
    assert relative_error(result.dout, out.grad.numpy()) < 1e-14


@pytest.mark.parametrize(
    ("loss", "n_out", "y", "message"),
    [
        (xpnet.SoftmaxCrossEntropy(), 3, np.asarray([0, 1, 3]), "label 3 of sample 2"),
        (xpnet.SoftmaxCrossEntropy(), 3, np.asarray([0, -1]), "label -1 of sample 1"),
        (xpnet.SoftmaxCrossEntropy(), 3, np.asarray([0.0, 1.5]), "must be whole numbers"),
        (xpnet.SoftmaxCrossEntropy(), 3, np.ones((2, 2)), "do not fit a network with 3 outputs"),
        (xpnet.SoftmaxCrossEntropy(), 2, np.asarray([[1.0, -1.0]]), "must not be negative"),
        (xpnet.BinaryCrossEntropy(), 1, np.asarray([0.0, 2.0]), "between 0 and 1"),
        (xpnet.BinaryCrossEntropy(), 2, np.asarray([0.0, 1.0]), "do not fit"),
        (xpnet.MeanSquaredError(), 1, np.asarray([0.0, np.nan]), "must be finite"),
        (xpnet.MeanAbsoluteError(), 1, np.zeros((2, 2, 2)), "do not fit"),
    ],
)
def test_targets_that_do_not_fit_are_refused(loss, n_out, y, message):
    with pytest.raises(xpnet.DataError, match=message):
        loss.check_target(n_out, y)
