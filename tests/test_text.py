"""Text and json hold nothing that a warehouse refuses, and otherwise what was sent."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letta_source.text import clean, to_json

UNSAFE = re.compile("[\0\ud800-\udfff]")
texts = st.text(st.characters(exclude_categories=()) | st.sampled_from("\0\ud800\udfff\\u"))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=8,
)


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [*value, *_texts(list(value.values()))]
    return [text for inner in value for text in _texts(inner)] if isinstance(value, list) else []


@given(texts)
def test_clean_takes_out_nul_and_replaces_each_lone_surrogate(text: str) -> None:
    assert clean(text) == "".join(
        "\ufffd" if 0xD800 <= ord(char) <= 0xDFFF else char for char in text if char != "\0"
    )


@given(values.filter(lambda value: value is not None))
def test_json_is_safe_and_otherwise_as_sent(value: Any) -> None:
    made = to_json(value)
    assert made is not None
    read = json.loads(made)
    assert not any(UNSAFE.search(text) for text in _texts(read))
    if not any(UNSAFE.search(text) for text in _texts(value)):
        assert json.dumps(read) == json.dumps(value)


@pytest.mark.parametrize(
    ("value", "made"),
    [
        (None, None),
        ("", '""'),
        ({}, "{}"),
        ("a\0b", '"ab"'),
        ("\\u0000", '"\\\\u0000"'),
        ({"a\0": ["\0b", "\ud83d\ude00"]}, '{"a":["b","\ufffd\ufffd"]}'),
        ({"é": 2**70}, '{"é":1180591620717411303424}'),
    ],
)
def test_json(value: Any, made: str | None) -> None:
    assert to_json(value) == made
