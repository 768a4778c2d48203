import xpnet


def test_one_epoch_on_mnist_learns():
    train, test = xpnet.mnist()
    network = xpnet.mlp(784, 32, 10)
    [(_, theta)] = xpnet.fit(network, train, epochs=1)
    assert xpnet.evaluate(network, theta, test).accuracy > 0.9
