"""Arrays of integers that grow slowly, as few bytes that are read back quickly."""

import json
import zlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

_WIDTHS = (np.int8, np.int16, np.int32, np.int64)


def pack(facts: Mapping[str, object], arrays: Mapping[str, NDArray[np.int64]], rest: bytes = b"") -> bytes:
    """Return facts that JSON can say, arrays, each as the differences of its elements, and other bytes.

    Takes a tenth of a millisecond for a short video, `numpy.savez` and `numpy.load` several times as long.
    """
    table, parts = [], []
    for name, array in arrays.items():
        steps = np.diff(array, prepend=0)
        width = next(it for it in _WIDTHS if not len(steps) or _fits(steps, np.iinfo(it)))
        table.append((name, np.dtype(width).str, len(steps)))
        parts.append(steps.astype(width).tobytes())
    body = b"".join((*parts, rest))
    return json.dumps([facts, table, len(body)]).encode() + b"\n" + zlib.compress(body)


def unpack(data: bytes) -> tuple[dict[str, object], dict[str, NDArray[np.int64]], bytes]:
    """Return what `pack` was given; raises `ValueError` if the bytes are not from there.

    Example:
        >>> unpack(pack({"version": 1}, {"pts": np.array([0, 3, 2])}, b"more"))
        ({'version': 1}, {'pts': array([0, 3, 2])}, b'more')
    """
    try:
        head, _, packed = data.partition(b"\n")
        facts, table, num_bytes = json.loads(head)
        if not isinstance(facts, dict):
            raise ValueError("no facts")
        body, start, arrays = zlib.decompress(packed, bufsize=num_bytes), 0, {}
        for name, dtype, length in table:
            arrays[name] = np.cumsum(np.frombuffer(body, dtype, length, start), dtype=np.int64)
            start += length * np.dtype(dtype).itemsize
    except (ValueError, TypeError, zlib.error) as error:
        raise ValueError(f"these are no packed arrays ({error})") from error
    return facts, arrays, body[start:]


def _fits(steps: NDArray[np.int64], limits: np.iinfo) -> bool:
    return bool(limits.min <= steps.min() and steps.max() <= limits.max)
