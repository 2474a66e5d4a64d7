"""Arrow arrays of Python values, made from buffers.

`pyarrow.array` imports pandas, to recognize its objects, which takes a tenth of a small load's time.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import pyarrow as pa

# Python types of the values, and how `array` names those of Arrow's buffers.
_NUMBERS = {pa.int64(): (int, "q"), pa.float64(): (float, "d")}


def text_array(values: Sequence[Any]) -> pa.StringArray | pa.ChunkedArray:
    """Return an array of texts, chunked above 2 GB; None is null.

    Raises:
        TypeError: a value is not a text.
        ValueError: a text contains a lone surrogate.
    """
    valid = _valid(values)
    encoded = list(map(str.encode, values if valid is None else [v if v is not None else "" for v in values]))
    try:
        ends = array("i", accumulate(map(len, encoded), initial=0))
    except OverflowError:
        return pa.array(values, pa.string())
    buffers = [valid, pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(values), buffers)


def number_array(values: Sequence[Any], type_: pa.DataType) -> pa.Array:
    """Return an array of int64 or of float64; None is null.

    Raises:
        TypeError: a value is not exactly of that type, such as True or 1.5 for an integer.
        OverflowError: an integer has more than 64 bits.
    """
    kind, code = _NUMBERS[type_]
    valid = _valid(values)
    if not set(map(type, values)) <= {kind, type(None)}:
        raise TypeError
    numbers = array(code, values if valid is None else [v if v is not None else kind() for v in values])
    return pa.Array.from_buffers(type_, len(values), [valid, pa.py_buffer(numbers)])


def bool_array(values: Sequence[Any]) -> pa.BooleanArray:
    """Return an array of booleans; None is null.

    Raises:
        TypeError: a value is not a boolean.
    """
    if not set(map(type, values)) <= {bool, type(None)}:
        raise TypeError
    return pa.Array.from_buffers(pa.bool_(), len(values), [_valid(values), _bits(values)])


def _valid(values: Sequence[Any]) -> pa.Buffer | None:
    """Return Arrow's bitmap of the values that are not null; None if all are not."""
    return _bits([value is not None for value in values]) if None in values else None


def _bits(values: Sequence[Any]) -> pa.Buffer:
    """Return a bit for each value: 1 if it is true."""
    flags = pa.py_buffer(bytes(map(bool, values)))
    return pa.Array.from_buffers(pa.uint8(), len(values), [None, flags]).cast(pa.bool_()).buffers()[1]
