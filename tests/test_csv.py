"""Tables: what was written is read, and what is wrong is named with its line and column."""

import csv
import gzip

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xpnet import DataError, UsageError
from xpnet.datasets import read
from xpnet.datasets.columns import read_first_line
from xpnet.datasets.csv import parse, parse_cells

GOOD = "0,1,2\n1,3,4\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One folder for all examples, each of which writes its file anew."""
    return tmp_path_factory.mktemp("csv")


def write(folder, text, name="t.csv"):
    content = text if isinstance(text, bytes) else text.encode()
    path = folder / name
    path.write_bytes(gzip.compress(content, mtime=0) if name.endswith(".gz") else content)
    return path


def table(folder, text, name="t.csv", **options):
    return read(write(folder, text, name), **options).train


def refused(folder, text, error=DataError, name="t.csv", **options):
    """The message, without the path, of the error that reading must raise."""
    path = write(folder, text, name)
    with pytest.raises(error) as caught:
        read(path, **options)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


# ---- sound tables ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.tsv", "t.txt", "t.TXT", "t.CSV.gz"])
def test_labels_come_first_and_the_rest_are_features(folder, name):
    data = table(folder, GOOD, name)
    np.testing.assert_array_equal(data.y, [0, 1])
    np.testing.assert_array_equal(data.X, [[1, 2], [3, 4]])
    assert (data.X.dtype, data.y.dtype) == (np.uint8, np.int32)
    assert data.weight is None
    assert data.shift is None


@pytest.mark.parametrize(
    "text",
    [
        "0;1;2\n1;3;4\n",
        "0\t1\t2\n1\t3\t4\n",
        "0,1,2\r\n1,3,4\r\n",
        "0,1,2\r1,3,4\r",
        "0,1,2\n1,3,4",
        "\n\n0,1,2\n  \n1,3,4\n\n",
        "\ufeff0,1,2\n1,3,4\n",
        " 0 , 1.0,+2\n1e0,3.,4\n",
        '"0","1","2"\n1,"3",4\n',
        "label,a,b\n0,1,2\n1,3,4\n",
        "label,0,1\n0,1,2\n1,3,4\n",
        'label;"a;1";"b,2"\n0;1;2\n1;3;4\n',
        '"la""bel",größe,b\n0,1,2\n1,3,4\n',
    ],
)
def test_the_same_table_written_otherwise(folder, text):
    data = table(folder, text)
    np.testing.assert_array_equal(data.y, [0, 1])
    np.testing.assert_array_equal(data.X, [[1, 2], [3, 4]])


def test_a_label_may_be_last_or_named(folder):
    text = "a,class,b\n1,0,2\n3,1,4\n"
    for name, y in (("class", [0, 1]), ("last", [2, 4]), ("first", [1, 3]), ("b", [2, 4])):
        np.testing.assert_array_equal(table(folder, text, label_columns=(name,)).y, y)
    data = table(folder, GOOD, label_columns=("2",))
    np.testing.assert_array_equal(data.y, [1, 3])
    np.testing.assert_array_equal(data.X, [[0, 2], [1, 4]])


def test_several_label_columns_are_real_targets(folder):
    data = table(folder, "a,b,c\n0.5,1,2\n1,3,4\n", label_columns=("c", "a"))
    np.testing.assert_array_equal(data.y, [[2, 0.5], [4, 1]])
    np.testing.assert_array_equal(data.X, [[1], [3]])
    assert data.y.dtype == np.float64


def test_one_label_column_may_be_a_real_target(folder):
    data = table(folder, "-0.5,1\n-0.5,3\n", targets="real")
    np.testing.assert_array_equal(data.y, [-0.5, -0.5])


def test_a_column_of_weights(folder):
    data = table(folder, "y,a,w\n0,1,0.5\n1,3,0\n", weight_column="w")
    np.testing.assert_array_equal(data.weight, [0.5, 0])
    np.testing.assert_array_equal(data.X, [[1], [3]])


@pytest.mark.parametrize(
    ("cells", "dtype", "full"),
    [
        ("0,255", np.uint8, 255),
        ("0,128", np.uint8, 255),
        ("0,127", np.uint8, 127),
        ("0,16", np.uint8, 16),
        ("0,1", np.uint8, 1),
        ("0,0", np.uint8, 1),
        ("0,256", np.float64, 1),
        ("0,0.5", np.float64, 1),
        ("-1,255", np.float64, 1),
    ],
)
def test_bytes_stay_bytes_with_the_scale_of_their_range(folder, cells, dtype, full):
    data = table(folder, f"0,{cells}\n1,0,0\n")
    assert data.X.dtype == dtype
    assert data.scale == float(np.float32(1 / full))


def test_bytes_and_fractions_in_different_blocks(folder):
    """A block is a megabyte: the fraction stands in the last of several."""
    text = "0,1,2\n1,255,4\n" * 200_000 + "1,0.5,7\n"
    data = table(folder, text)
    assert data.X.shape == (400_001, 2)
    assert (data.X.dtype, data.scale) == (np.float64, 1)
    np.testing.assert_array_equal(data.X[-2:], [[255, 4], [0.5, 7]])


NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    values=st.integers(1, 4).flatmap(
        lambda k: st.lists(st.lists(NUMBERS, min_size=k + 1, max_size=k + 1), min_size=1)
    ),
    delimiter=st.sampled_from(",;\t"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    header=st.booleans(),
)
def test_what_was_written_is_read(folder, values, delimiter, quoting, end, header):
    path = folder / "round.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter, quoting=quoting, lineterminator=end)
        if header:
            writer.writerow(f"c{j}" for j in range(len(values[0])))
        writer.writerows(values)
    data = read(path, targets="real").train
    np.testing.assert_array_equal(data.y, np.array(values)[:, 0])
    np.testing.assert_array_equal(data.X, np.array(values)[:, 1:])


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    cells=st.lists(
        st.one_of(NUMBERS.map(repr), st.integers().map(str), st.sampled_from([" 1", "2 ", "+.5"])),
        min_size=2,
    )
)
def test_the_fast_and_the_strict_parser_agree(tmp_path_factory, cells):
    line = ",".join(cells)
    first = read_first_line(
        tmp_path_factory.getbasetemp(), 1, ",".join("1" for _ in cells), ("1",), None
    )
    try:
        strict = parse_cells(first, [1], [line], {})
    except DataError:
        with pytest.raises(DataError):
            parse(first, [1], [line], {})
    else:
        np.testing.assert_array_equal(parse(first, [1], [line], {}), strict)


# ---- tables that are wrong ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        (" \n\n", "the file is empty"),
        ("\ufeff", "the file is empty"),
        ("label,a,b\n", "no line follows the header"),
        ("5\n6\n", "line 1 has one column only"),
        ("0 1 2\n1 3 4\n", "line 1 has one column only"),
        (GOOD + "1,2\n", "line 3 has 2 cells, but line 1 has 3"),
        (GOOD + "\n1,2,3,4\n", "line 4 has 4 cells, but line 1 has 3"),
        ("y,a,b\n0,1\n1,2\n", "line 2 has 2 cells, but line 1 has 3"),
        (GOOD + "1,,4\n", "line 3, column 2: the cell is empty"),
        (GOOD + "1, ,4\n", "line 3, column 2: the cell is empty"),
        (GOOD + '1,"",4\n', "line 3, column 2: the cell is empty"),
        ("y,a,long name\n0,1,2\n1,3,\n", "line 3, column 3 ('long name'): the cell is empty"),
        (GOOD + "1,x,4\n", "line 3, column 2: 'x' is no number"),
        ("y,a\n0,1\nsetosa,1\n", "line 3, column 1 ('y'): 'setosa' is no number, but the first"),
        ("0;1;2\n1;3,5;4\n", "line 2, column 2: '3,5' is no number: write a decimal point"),
        (GOOD + "1,1_000,4\n", "line 3, column 2: '1_000' is no number"),
        (GOOD + "1,\u0661,4\n", "line 3, column 2: '\u0661' is no number"),
        (GOOD + "1,0x10,4\n", "line 3, column 2: '0x10' is no number"),
        (GOOD + "1,2,nan\n", "line 3, column 3: 'nan' is not finite"),
        ("nan,1,2\n1,3,4\n", "line 1, column 1: 'nan' is not finite"),
        (GOOD + "1,NaN,4\n", "line 3, column 2: 'NaN' is not finite"),
        (GOOD + "1,-inf,4\n", "line 3, column 2: '-inf' is not finite"),
        (GOOD + "1,Infinity,4\n", "line 3, column 2: 'Infinity' is not finite"),
        (GOOD + "1,1e400,4\n", "line 3, column 2: '1e400' is too big for a float64"),
        (GOOD + "-1e999,2,4\n", "line 3, column 1: '-1e999' is too big for a float64"),
        (GOOD + '1,"2,4\n', "line 3: damaged cell (unexpected end of data)"),
        (GOOD + '1,"2"x,4\n', "line 3: damaged cell (',' expected after '\"')"),
        (GOOD + "1,2\x00,4\n", "line 3, column 2: '2\\x00' is no number"),
        (GOOD + "x" * 200 + ",2,4\n", f"line 3, column 1: '{'x' * 37}...' is no number"),
        ("0,,2\n1,3,4\n", "line 1 is neither a sample (column 2 is '') nor a header"),
        ("0,x,2.5\n1,3,4\n", "nor a header (column 3 is the number '2.5'): correct"),
        ("0,0,x\n1,3,4\n", "nor a header (column 2 repeats '0' of column 1): correct"),
        ("y,a,a\n1,3,4\n", "nor a header (column 3 repeats 'a' of column 2): correct"),
        (",y,a\n0,1,3\n", "nor a header (column 1 is empty): correct"),
        (b"0,1\n1,\xe9\n", "line 2, byte 3: no UTF-8 text"),
        ("y,a\n0,1\n".encode("utf-16"), "line 1, byte 1: no UTF-8 text"),
        (gzip.compress(b"0,1\n1,2\n", mtime=0), "line 1, byte 2: no UTF-8 text"),
        (GOOD + "-1,2,4\n", "line 3: the label -1 is negative"),
        (GOOD + "\n1.5,2,4\n", "line 4: the label 1.5 is no whole number"),
        (GOOD + "-1.5,2,4\n", "line 3: the label -1.5 is no whole number: for real targets"),
        (GOOD + "1048576,2,4\n", "line 3: the label 1048576 is above 1,048,575"),
        ("7,1\n7,2\n7,3\n", "all 3 labels are 7: there is nothing to learn"),
    ],
)
def test_what_is_wrong_is_named_with_line_and_column(folder, text, message):
    assert message in refused(folder, text)
    if isinstance(text, str):
        assert message in refused(folder, text, name="t.csv.gz")


@pytest.mark.parametrize(
    ("header", "why"),
    [
        (",y,a", "column 1 of the header is empty"),
        ("y,a,a", "column 3 of the header repeats 'a' of column 2"),
    ],
)
def test_a_line_with_the_name_of_the_label_is_a_header(folder, header, why):
    error = refused(folder, header + "\n0,1,3\n", label_columns=("y",))
    assert error == f"line 1: {why}: give each column a name of its own"


def test_a_wrong_line_far_down_has_its_number(folder):
    text = "0,1,2\n1,3,4\n\n" * 200_000 + "1,3,x\n"
    assert "line 600001, column 3: 'x' is no number" in refused(folder, text)


def test_a_line_without_end_is_refused(folder):
    assert "line 1 is longer than" in refused(folder, "1," * (3 << 20))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_columns": ("klass",)}, "no column 'klass': did you mean 'class'?"),
        ({"label_columns": ("zzz",)}, "no column 'zzz': choose from a, class, w"),
        ({"weight_column": "weigth"}, "no column 'weigth': "),
        ({"label_columns": ("a", "a")}, "must each have a column of their own"),
        ({"weight_column": "a"}, "must each have a column of their own"),
        ({"label_columns": ()}, "must each have a column of their own"),
    ],
)
def test_columns_that_are_not_there(folder, options, message):
    text = "a,class,w\n0,1,2\n1,3,4\n"
    assert message in refused(folder, text, UsageError, **options)


def test_columns_without_a_header_are_numbers(folder):
    message = refused(folder, GOOD, UsageError, label_columns=("label",))
    assert message == "no column 'label': without a header choose 1 .. 3"


def test_a_long_list_of_columns_is_cut(folder):
    header = ",".join(f"pixel{i}" for i in range(1000))
    message = refused(folder, f"{header}\n", UsageError, label_columns=("@",))
    assert len(message) < 300


def test_features_must_be_left(folder):
    text = "a,b\n0,1\n1,2\n"
    assert "no column of features" in refused(folder, text, label_columns=("a", "b"))
    assert "no column of features" in refused(folder, text, weight_column="b")


@pytest.mark.parametrize("weight", ["-1", "-0.5"])
def test_weights_must_not_be_negative(folder, weight):
    text = f"y,a,w\n0,1,2\n1,3,{weight}\n"
    message = refused(folder, text, weight_column="w")
    assert message == f"line 3: the weight {weight} must be finite and not negative"


def test_weights_must_not_all_be_zero(folder):
    assert "all weights are 0" in refused(folder, "y,a,w\n0,1,0\n1,3,0\n", weight_column="w")


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_the_limit_is_on_text_and_on_numbers(folder, name):
    assert "limit of 11 bytes" in refused(folder, GOOD, name=name, max_bytes=11)
    assert "limit of 15 bytes" in refused(folder, "0,1.5\n1,2.5\n", name=name, max_bytes=15)
    assert table(folder, GOOD, name, max_bytes=12).n == 2


def test_unpacking_stops_at_the_limit(folder):
    message = refused(folder, b"\n" * (50 << 20), name="bomb.csv.gz", max_bytes=10 << 20)
    assert "limit of 10,485,760 bytes: raise it with --max-bytes" in message


@pytest.mark.parametrize("cut", [5, 15, -9, -1])
def test_a_truncated_gzip_file(folder, cut):
    path = folder / "cut.csv.gz"
    path.write_bytes(gzip.compress(GOOD.encode() * 100, mtime=0)[:cut])
    with pytest.raises(DataError, match="damaged gzip file"):
        read(path)


def test_a_gzip_file_with_a_wrong_checksum(folder):
    content = bytearray(gzip.compress(GOOD.encode(), mtime=0))
    content[-8] ^= 1
    path = folder / "crc.csv.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match="CRC check failed"):
        read(path)


@pytest.mark.slow
def test_a_table_as_big_as_mnist(folder):
    """60,000 x 785 cells: pixels stay bytes, and memory stays near the 47 MB that they are."""
    import tracemalloc

    X = np.random.default_rng(0).integers(0, 256, (60_000, 784)).astype(np.uint8)
    path = folder / "big.csv"
    words = [str(i) for i in range(256)]
    with path.open("w") as file:
        for i, row in enumerate(X.tolist()):
            file.write(f"{i % 10},{','.join(map(words.__getitem__, row))}\n")
    tracemalloc.start()
    try:
        data = read(path).train
        assert tracemalloc.get_traced_memory()[1] < 200 << 20
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(data.X, X)
    np.testing.assert_array_equal(data.y, np.arange(60_000) % 10)
