"""The MNIST inside the package is the published one, and a damaged copy is noticed."""

import gzip
import shutil

import numpy as np
import pytest

from xpnet import DataError, mnist
from xpnet.datasets.mnist import FOLDER

FILES = sorted(path.name for path in FOLDER.glob("*.gz"))


@pytest.fixture(scope="module")
def sets():
    return mnist()


def test_shapes_and_dtypes(sets):
    for data, n in zip(sets, (60_000, 10_000), strict=True):
        assert data.X.shape == (n, 784)
        assert data.y.shape == (n,)
        assert data.X.dtype == data.y.dtype == np.uint8
        assert (data.X.min(), data.X.max()) == (0, 255)
        assert data.scale * 255 == pytest.approx(1.0, rel=1e-6)
        assert data.scale == np.float32(data.scale)  # the same number in either dtype
        assert data.weight is None


def test_class_counts_are_the_published_ones(sets):
    train, test = (np.bincount(data.y).tolist() for data in sets)
    assert train == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert test == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_the_order_is_the_published_one(sets):
    first = np.bincount(sets[0].y[:100]).tolist()
    assert first == [13, 14, 6, 11, 11, 5, 11, 10, 8, 11]
    assert sets[0].y[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert sets[1].y[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]


def test_the_pixels_have_the_known_mean_and_deviation(sets):
    pixels = sets[0].X / 255  # 0.1307 and 0.3081, the numbers everyone normalises with
    assert pixels.mean() == pytest.approx(0.1307, abs=5e-5)
    assert pixels.std() == pytest.approx(0.3081, abs=5e-5)


@pytest.fixture
def folder(tmp_path):
    """A folder with links to the four files."""
    for name in FILES:
        (tmp_path / name).symlink_to(FOLDER / name)
    return tmp_path


def test_there_are_four_files(folder):
    assert len(FILES) == 4
    assert [data.n for data in mnist(folder)] == [60_000, 10_000]


@pytest.mark.parametrize("name", FILES)
def test_one_flipped_bit_is_noticed(folder, name):
    content = bytearray(gzip.decompress((FOLDER / name).read_bytes()))
    content[len(content) // 2] ^= 1
    (folder / name).unlink()
    (folder / name).write_bytes(gzip.compress(content, compresslevel=0, mtime=0))
    with pytest.raises(DataError, match=f"{name}.*SHA-256"):
        mnist(folder)


def test_another_sound_file_is_noticed(folder):
    """Labels of the test set in the place of its images, and of another number of them."""
    images, labels = folder / FILES[0], folder / FILES[1]
    images.unlink()
    shutil.copy(labels, images)
    with pytest.raises(DataError, match=images.name):
        mnist(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        mnist(folder)
