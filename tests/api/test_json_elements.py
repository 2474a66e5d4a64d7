"""A list that arrives in pieces is split as a parser of the whole text would, wherever the pieces end."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from letta_source.api.json_elements import Elements, ListStart
from letta_source.safe_text import parse_json

KEY = "messages"
MOST = 1 << 20

# Backslashes and quotes side by side, and characters that only an escape can represent.
TEXTS = st.text(st.sampled_from('\\"/[]{},: a\n\x7f\ud800\udc00é😀'), max_size=8)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS | st.just(KEY), inner, max_size=4),
    max_leaves=12,
)
SPACES = st.sampled_from(["", " ", "\n\t \r"])


def cut(text: bytes, at: list[int], most: int = MOST) -> tuple[Elements, list[tuple[bytes | None, int]]]:
    """Return the elements found in a text that arrives in pieces, which end at these places."""
    elements = Elements(KEY, most)
    found: list[tuple[bytes | None, int]] = []
    ends = sorted({0, len(text), *(end % (len(text) + 1) for end in at)})
    for begin, end in pairwise(ends):
        for one in elements.feed(text[begin:end]):
            if isinstance(one, ListStart):
                found.clear()
            else:
                found.append((one.text, one.size))
    elements.end()
    return elements, found


def streamed(text: bytes, at: list[int]) -> Any:
    """Return the result for the whole text: the list, or the value in its place."""
    elements, found = cut(text, at)
    if not elements.is_list:
        assert not found
        return elements.other
    return [elements.unwrap(parse_json(elements.wrap([one or b""])))[0] for one, _ in found]


def whole(text: bytes) -> Any:
    said = parse_json(text)
    if isinstance(said, dict):
        # Other keys of an object do not matter.
        return said.get(KEY, {})
    return said


def dumped(value: Any, space: str, ascii_only: bool) -> bytes:
    text = json.dumps(value, separators=(f"{space},{space}", f"{space}:{space}"), ensure_ascii=ascii_only)
    return f"{space}{text}{space}".encode("utf-8", "surrogatepass")


@given(VALUES, SPACES, st.booleans(), st.lists(st.integers(0, 500), max_size=12))
@example([["\\", '\\"', '"']], "", True, list(range(40)))
@example({"a": {"messages": [1]}, KEY: [{"id": "x"}, 1.5, "]"], "b": "[}"}, " ", True, list(range(99)))
@example({KEY: None}, "", True, [3])
def test_any_value_is_parsed_as_from_the_whole_text(
    value: Any, space: str, ascii_only: bool, at: list[int]
) -> None:
    for sent in (value, {KEY: value}, {"a": value, KEY: [value, value], "z": value}, [value]):
        text = dumped(sent, space, ascii_only)
        assert repr(streamed(text, at)) == repr(whole(text))


BROKEN = st.text(st.sampled_from('[]{}",:\\ 1tnull-e.'), max_size=14)


@given(
    BROKEN, st.lists(st.integers(0, 14), max_size=5), st.sampled_from(["{}", '{{"messages":[{}]}}', "[{}]"])
)
@example("[1 2]", [], "{}")
@example('{"messages":[1],"messages":[2,3]}', [5, 20], "{}")
@example('{"messages":[1],"messages":null}', [], "{}")
@example('{"messages":2,"messages":[3]}', [], "{}")
@example('{"\\u006dessages":[1]}', [14], "{}")
@example('{"messages":[1]}{}', [], "{}")
@example('{"messages":[1]}]', [], "{}")
@example("[1,]", [], "{}")
@example("[,1]", [], "{}")
@example('{"a" 1}', [], "{}")
@example('{"a":1,}', [], "{}")
@example("{1:[]}", [], "{}")
@example('["a"b]', [], "{}")
@example('{"a":1]', [], "[{}]")
def test_text_that_is_not_json_is_refused_in_pieces_too(text: str, at: list[int], form: str) -> None:
    sent = form.format(text).encode()
    try:
        expected = repr(whole(sent))
    except ValueError:
        with pytest.raises(ValueError, match=r"."):
            streamed(sent, at)
    else:
        assert repr(streamed(sent, at)) == expected


@pytest.mark.parametrize("depth", [197, 198, 199, 200, 201, 202, 5000])
@pytest.mark.parametrize("form", ["[%s]", '{"messages":[%s,1]}'])
def test_deep_nesting_is_cut_at_the_same_level(depth: int, form: str) -> None:
    text = (form % ('{"a":' * (depth // 2) + "[" * depth + "]" * depth + "}" * (depth // 2))).encode()
    assert repr(streamed(text, list(range(0, len(text), 7)))) == repr(whole(text))


@pytest.mark.parametrize("at", [[], [1], [2], [1, 2, 3, 4]])
def test_a_byte_order_mark_is_skipped(at: list[int]) -> None:
    assert streamed(b"\xef\xbb\xbf[1]", at) == [1]


def test_elements_that_are_too_large_are_skipped_and_others_keep_their_positions() -> None:
    large = json.dumps("\\" * 40_000 + "]" * 20_000)
    text = f'{{"messages":[1,{large},{{"id":"b"}}]}}'.encode()
    elements = Elements(KEY, 1000)
    held, found = 0, []
    for at in range(0, len(text), 100):
        found += elements.feed(text[at : at + 100])
        held = max(held, elements.held)
    elements.end()
    assert held <= 1000
    sizes = [(one.text, one.size) for one in found if not isinstance(one, ListStart)]
    assert sizes == [(b"1", 1), (None, len(large)), (b'{"id":"b"}', 10)]


@pytest.mark.parametrize("text", ['"%s"', '{"messages":"%s"}', '{"messages":{"a":"%s"}}'])
def test_a_large_value_that_is_not_a_list_is_not_an_empty_list(text: str) -> None:
    elements, found = cut((text % ("a" * 5000)).encode(), [], most=1000)
    assert not found
    assert elements.other is not None
    assert not isinstance(elements.other, list)
