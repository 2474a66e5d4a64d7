"""Cut the elements of a list out of a JSON text that comes in pieces."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from letta_source.safe_text import parse_json

_BOM = b"\xef\xbb\xbf"
_SPACES = re.compile(rb"[ \t\n\r]*")
_MARKS = re.compile(rb'["\[\]{}]')
_BRACKETS = re.compile(rb"[\[\]{}]")
# Bytes scanned at once.
_WINDOW = 4096
_SCALAR_END = re.compile(rb'[ \t\n\r,:\[\]{}"]')
_BACKSLASH = ord("\\")


@dataclass(frozen=True)
class Element:
    """An element of the list.

    Attributes:
        text: the bytes as sent, not yet known to be JSON; None if there are more than may be kept.
        size: the number of bytes.
    """

    text: bytes | None
    size: int


class ListStart:
    """The list starts; an earlier one is void, as the last value of a repeated key counts."""


class _Place(Enum):
    START = auto()
    ELEMENT = auto()
    AFTER_ELEMENT = auto()
    KEY = auto()
    COLON = auto()
    VALUE = auto()
    AFTER_VALUE = auto()
    END = auto()


class Elements:
    """Incremental parser that cuts the elements out of `[…]` or `{"key": […]}`.

    It accepts the same texts as `parse_json` once each element is parsed within `wrap`, but only UTF-8.

    Args:
        key: the object's key of the list.
        most: the most bytes of an element that are kept.

    Attributes:
        is_list: the text is a list, or the key's value is one.
        other: the value found instead of a list; an empty object if the key is missing.
    """

    def __init__(self, key: str, most: int) -> None:
        self.is_list = False
        self.other: Any = None
        self._key = key
        self._most = most
        self._place = _Place.START
        self._may_end = self._in_object = self._is_wanted = False
        self._is_begun = False
        self._rest = b""
        self._found: list[Element | ListStart] = []
        # State of the value that is being read.
        self._in_value = self._is_scalar = self._in_text = False
        self._depth: int = 0
        self._size = 0
        self._kept = bytearray()

    @property
    def held(self) -> int:
        """Bytes kept of an element that has not ended."""
        return len(self._kept)

    def wrap(self, texts: list[bytes]) -> bytes:
        """Return elements as a JSON list, at the depth that they have in the text; see `unwrap`."""
        inner = b"[%b]" % b",".join(texts)
        # The depth matters, as arrays beyond the deepest level stay texts.
        return b"[%b]" % inner if self._in_object else inner

    def unwrap(self, parsed: Any) -> list[Any]:
        """Return the elements from the parsed text of `wrap`."""
        found: list[Any] = parsed[0] if self._in_object else parsed
        return found

    def feed(self, piece: bytes) -> list[Element | ListStart]:
        """Return the elements that end in this piece, and the starts of lists.

        Raises:
            ValueError: it is not JSON.
        """
        data, self._rest = self._rest + piece if self._rest else piece, b""
        if not self._is_begun:
            if len(data) < len(_BOM) and _BOM.startswith(data):
                self._rest = data
                return []
            # Python's own parser, the fallback of `parse_json`, accepts a BOM too.
            data, self._is_begun = data.removeprefix(_BOM), True
        at = 0
        while at < len(data):
            if self._in_value:
                at = self._read_value(data, at)
                continue
            spaces = _SPACES.match(data, at)
            at = spaces.end() if spaces else at
            if at < len(data):
                at = self._expect(data[at : at + 1], at)
        found, self._found = self._found, []
        return found

    def end(self) -> None:
        """End the text.

        Raises:
            ValueError: it is cut short.
        """
        if self._in_value and self._is_scalar:
            self._end_value()
        if self._place is not _Place.END or self._in_value:
            raise ValueError("the JSON is cut short")

    def _expect(self, mark: bytes, at: int) -> int:
        """Take the mark that begins or ends something; return the position after it, or that of a value."""
        place, may_end, self._may_end = self._place, self._may_end, False
        following = None
        if place is _Place.START and mark == b"{":
            self._in_object, self._may_end, self.other = True, True, {}
            following = _Place.KEY
        elif mark == b"[" and (place is _Place.START or (place is _Place.VALUE and self._is_wanted)):
            self._may_end, self.is_list = True, True
            self._found.append(ListStart())
            following = _Place.ELEMENT
        elif mark == b"]" and (place is _Place.AFTER_ELEMENT or (place is _Place.ELEMENT and may_end)):
            following = _Place.AFTER_VALUE if self._in_object else _Place.END
        elif mark == b"}" and (place is _Place.AFTER_VALUE or (place is _Place.KEY and may_end)):
            following = _Place.END
        elif mark == b",":
            following = {_Place.AFTER_ELEMENT: _Place.ELEMENT, _Place.AFTER_VALUE: _Place.KEY}.get(place)
        elif mark == b":" and place is _Place.COLON:
            following = _Place.VALUE
        if following:
            self._place = following
            return at + 1
        begins = place in (_Place.START, _Place.ELEMENT, _Place.VALUE) and mark not in b",:]}"
        if not begins and not (place is _Place.KEY and mark == b'"'):
            raise ValueError(f"invalid JSON: unexpected {mark!r}")
        self._in_value, self._is_scalar = True, mark not in b'"[{'
        return at

    def _read_value(self, data: bytes, at: int) -> int:
        """Keep the bytes of the value; return the position after them."""
        end = self._value_end(data, at)
        cut = len(data) if end is None else end
        if end is None and self._in_text and _escapes(data, at, cut):
            # The escaped character comes with the next piece.
            cut -= 1
            self._rest = data[cut:]
        self._size += cut - at
        if self._size <= self._most:
            self._kept += memoryview(data)[at:cut]
        else:
            self._kept = bytearray()
        if end is not None:
            self._end_value()
        return len(data) if end is None else end

    def _value_end(self, data: bytes, at: int) -> int | None:
        if self._is_scalar:
            found = _SCALAR_END.search(data, at)
            return found.start() if found else None
        if not self._depth and not self._in_text:
            # The value begins.
            self._in_text = data[at : at + 1] == b'"'
            self._depth = int(not self._in_text)
            at += 1
        while True:
            if self._in_text:
                quote = data.find(b'"', at)
                if quote < 0:
                    return None
                self._in_text = _escapes(data, at, quote)
                at = quote + 1
            else:
                found = _MARKS.search(data, at)
                if not found:
                    return None
                self._in_text = found[0] == b'"'
                at = found.end() if self._in_text else self._pass_brackets(data, found.start())
            if not self._depth and not self._in_text:
                return at

    def _pass_brackets(self, data: bytes, at: int) -> int:
        """Move on to the next string or the end of the window, but not beyond the value."""
        text = data.find(b'"', at, at + _WINDOW)
        stop = min(len(data), at + _WINDOW) if text < 0 else text
        closed = data.count(b"]", at, stop) + data.count(b"}", at, stop)
        if closed < self._depth:
            # Counting makes megabytes of brackets as cheap as any other text.
            self._depth += data.count(b"[", at, stop) + data.count(b"{", at, stop) - closed
            return stop
        for found in _BRACKETS.finditer(data, at, stop):
            self._depth += 1 if found[0] in b"[{" else -1
            if not self._depth:
                return found.end()
        return stop

    def _end_value(self) -> None:
        text, size = bytes(self._kept) if self._size <= self._most else None, self._size
        self._in_value, self._depth, self._size, self._kept = False, 0, 0, bytearray()
        if self._place is _Place.ELEMENT:
            self._found.append(Element(text, size))
            self._place = _Place.AFTER_ELEMENT
            return
        # A value too large to be kept is replaced by a string, which is not a list either.
        value = "" if text is None else parse_json(text)
        if self._place is _Place.KEY:
            self._is_wanted = value == self._key
            self._place = _Place.COLON
            return
        if self._place is _Place.START or self._is_wanted:
            self.is_list, self.other = False, value
            self._found.append(ListStart())
        self._place = _Place.END if self._place is _Place.START else _Place.AFTER_VALUE


def _escapes(data: bytes, begin: int, end: int) -> bool:
    """Return True if an odd number of backslashes stands before `end`, from `begin` on."""
    at = end
    while at > begin and data[at - 1] == _BACKSLASH:
        at -= 1
    return (end - at) % 2 == 1
