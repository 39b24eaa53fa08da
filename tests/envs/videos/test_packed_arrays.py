import numpy as np
import pytest

from videozoom.envs.videos.packed_arrays import pack, unpack


@pytest.mark.parametrize(
    "array",
    [
        [],
        [0],
        [-5, 200, 199, 198],
        [2**62, -(2**62), 0],
        [0, 127, 254, 126, -2],
        [0, 128, 256],
        [0, 32767, 65534],
        [0, 32768],
        [0, 2**31 - 1],
        [0, 2**31],
    ],
)
def test_arrays_come_back(array: list[int]) -> None:
    arrays = {"a": np.array(array, np.int64), "b": np.arange(3)}
    facts, unpacked, rest = unpack(pack({"x": [1, 2.5, "text"]}, arrays, b"\n\x00rest"))
    assert facts == {"x": [1, 2.5, "text"]}
    assert {name: values.tolist() for name, values in unpacked.items()} == {"a": array, "b": [0, 1, 2]}
    assert all(values.dtype == np.int64 for values in unpacked.values())
    assert rest == b"\n\x00rest"


def test_what_grows_evenly_takes_almost_nothing() -> None:
    assert len(pack({}, {"pts": np.arange(100_000) * 512})) < 1000


@pytest.mark.parametrize(
    "data", [b"", b"noise", b"7\n", b"[1, 2]\n", b"[{}, [], 0]\n", b"[{}, [[]], 0]\n", b"[[], [], 0]\n"]
)
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="no packed arrays"):
        unpack(data)


def test_bytes_that_are_cut_short_are_refused() -> None:
    data = pack({"x": 1}, {"a": np.arange(1000) ** 2})
    for length in range(len(data)):
        with pytest.raises(ValueError, match="no packed arrays"):
            unpack(data[:length])
