"""Arrays made from buffers equal pyarrow's own, and refuse what their type cannot hold."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from letta_source import arrays
from letta_source.arrays import bool_array, number_array, text_array

_TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.lists(st.none() | _TEXTS))
def test_texts_equal_pyarrows(values: list[str | None]) -> None:
    made = text_array(values)
    made.validate(full=True)
    assert made == pa.array(values, pa.string())


@given(st.lists(st.none() | st.integers(-(2**63), 2**63 - 1)))
def test_integers_equal_pyarrows(values: list[int | None]) -> None:
    made = number_array(values, pa.int64())
    made.validate(full=True)
    assert made == pa.array(values, pa.int64())


@given(st.lists(st.none() | st.floats(allow_nan=False)))
def test_floats_equal_pyarrows(values: list[float | None]) -> None:
    made = number_array(values, pa.float64())
    made.validate(full=True)
    assert made == pa.array(values, pa.float64())


@given(st.lists(st.none() | st.booleans()))
def test_booleans_equal_pyarrows(values: list[bool | None]) -> None:
    made = bool_array(values)
    made.validate(full=True)
    assert made == pa.array(values, pa.bool_())


@pytest.mark.parametrize("value", [1, b"a", ["a"], {}])
def test_only_texts_are_accepted_as_texts(value: object) -> None:
    with pytest.raises(TypeError):
        text_array(["a", value])


@pytest.mark.parametrize("type_", [pa.int64(), pa.float64()])
@pytest.mark.parametrize("value", [True, "1", [1], {}])
def test_only_numbers_are_accepted_as_numbers(type_: pa.DataType, value: object) -> None:
    with pytest.raises(TypeError):
        number_array([None, value], type_)


def test_integers_and_floats_are_not_mixed() -> None:
    for value, type_ in ((1.5, pa.int64()), (2**53 + 1, pa.float64())):
        with pytest.raises(TypeError):
            number_array([value], type_)
    with pytest.raises(OverflowError):
        number_array([2**63], pa.int64())


@pytest.mark.parametrize("value", [1, 0, "true"])
def test_only_booleans_are_accepted_as_booleans(value: object) -> None:
    with pytest.raises(TypeError):
        bool_array([True, value])


def test_texts_above_2_gb_are_chunked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrow's offsets are 32-bit integers; here, those that `array` refuses begin earlier."""
    monkeypatch.setattr(arrays, "accumulate", lambda lengths, initial: [initial, 2**31])
    assert text_array(["a"]).to_pylist() == ["a"]
