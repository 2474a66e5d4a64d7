"""Text and json contain no invalid characters, and otherwise what was sent."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letta_source.safe_text import MAX_DEPTH, clean, parse_json, to_json, visible

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
def test_clean_replaces_nul_and_lone_surrogates(text: str) -> None:
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
        ("a\0b", '"a\ufffdb"'),
        ("\\u0000", '"\\\\u0000"'),
        ({"a\0": ["\0b", "\ud83d\ude00"]}, '{"a\ufffd":["\ufffdb","\ufffd\ufffd"]}'),
        ({"é": 2**70}, '{"é":1180591620717411303424}'),
        # orjson writes null for these.
        ({"a": float("nan"), "b": [None, -float("inf")]}, '{"a":"NaN","b":[null,"-Infinity"]}'),
        # Different keys stay different.
        ({"a\0": 1, "a\ud800": 2}, '{"a\ufffd":1,"a\ufffd\ufffd":2}'),
    ],
)
def test_json(value: Any, made: str | None) -> None:
    assert to_json(value) == made


@given(values)
def test_json_reads_as_sent(value: Any) -> None:
    assert json.dumps(parse_json(json.dumps(value).encode())) == json.dumps(value)


@pytest.mark.parametrize("beside", [b'"a"', b'"\\ud800 [{ \\" \\\\"'])
@pytest.mark.parametrize("depth", [1, MAX_DEPTH - 2, MAX_DEPTH - 1, MAX_DEPTH, 500, 20_000])
def test_deep_parts_become_text_whatever_surrounds_them(beside: bytes, depth: int) -> None:
    # The surrounding list counts as a level too.
    first, inner, last = parse_json(b"[%b,%b1%b,2]" % (beside, b"[" * depth, b"]" * depth))
    assert (first, last) == (json.loads(beside), 2)
    levels = 0
    while isinstance(inner, list):
        (inner,) = inner
        levels += 1
    assert levels == min(depth, MAX_DEPTH - 1)
    assert inner == ("[" * (depth - levels) + "1" + "]" * (depth - levels) if depth > levels else 1)


def test_parts_beyond_the_deepest_level_stay_text_as_sent() -> None:
    sent = b"[" * MAX_DEPTH + b'{"a" : ["\xc3\xa9\\n]"]}, [ ]' + b"]" * MAX_DEPTH
    read = parse_json(sent)
    for _ in range(MAX_DEPTH - 1):
        (read,) = read
    assert read == ['{"a" : ["\u00e9\\n]"]}', "[ ]"]
    assert to_json(parse_json(sent)) is not None


@pytest.mark.parametrize(
    "sent", [b"", b"[", b"[" * 5_000, b"[}" * 5_000, b'"\xff"', b"[" * 300 + b"]" * 299, b'["a]', b"nul"]
)
def test_invalid_json_raises(sent: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(sent)


def test_a_huge_integer_stays_text() -> None:
    assert parse_json(b"[1%b, 2]" % (b"0" * 5_000)) == ["1" + "0" * 5_000, 2]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, ünïcode, 日本, 👋🏽, שלום, a\u200db", "plain, ünïcode, 日本, 👋🏽, שלום, a\u200db"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("\x9b31m", r"\x9b31m"),
        ("a\rb\x08c\x7f\x00", r"a\x0db\x08c\x7f\x00"),
        ("\u202eabc\u202c \u2067d\u2069", r"\u202eabc\u202c \u2067d\u2069"),
        ("a\u2028b\u2029c\x85d\x0b\x0c", r"a\u2028b\u2029c\x85d\x0b\x0c"),
        ("\ufeff\u200b\ufffe\ud83d", r"\ufeff\u200b\ufffe\ud83d"),
        ("\U000e0061\U000e0101", r"\U000e0061\U000e0101"),
        ("a\u200eb\u200fc\u061cd", r"a\u200eb\u200fc\u061cd"),
        ("a\xadb\u3164c\u115fd\u034fe\u180ef\uffa0", r"a\xadb\u3164c\u115fd\u034fe\u180ef\uffa0"),
        ("two\nlines\tand a tab", r"two\x0alines\x09and a tab"),
    ],
)
def test_control_and_invisible_characters_are_made_visible(text: str, shown: str) -> None:
    assert visible(text) == shown
    assert visible(shown) == shown


def test_kept_characters_stay() -> None:
    assert visible("a\n\tb\r", keep="\n\t") == "a\n\tb\\x0d"


def test_all_invisible_format_characters_are_made_visible() -> None:
    """By Unicode's categories; some format characters, such as Arabic number signs, are visible."""
    seen = {0x200C, 0x200D, *range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD}
    # These arrange Egyptian hieroglyphs in quadrats.
    seen |= {*range(0x13430, 0x13440)}
    acting = ("Cc", "Cf", "Cs", "Zl", "Zp")
    hidden = [n for n in range(0x110000) if unicodedata.category(chr(n)) in acting and n not in seen]
    assert [hex(n) for n in hidden if visible(chr(n)) == chr(n)] == []
