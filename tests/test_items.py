"""Ids are valid if a URL and a key can hold them, checked one by one or all at once."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letta_source.items import Items, id_of, ids_of

ID = "message-40516e89-feb5-4c89-a1f3-4016bc49109d"
FIT = [ID, "a", "A_b-9", "a.b", "a:b", "a@b", "a+b=c~d", "é", "世", "a" * 255]
UNFIT = ["", ".", "..", "a/b", "a b", "a\n", "a\0", "\ud800", "a?b", "a#b", "a%2Fb", "a" * 256]
NO_TEXT: list[Any] = [None, 5, [], {}, True]
ELEMENTS: st.SearchStrategy[Any] = (
    st.sampled_from([*FIT, *UNFIT, *NO_TEXT]).map(lambda id_: {"id": id_, "date": None})
    | st.text(max_size=3).map(lambda id_: {"id": id_})
    | st.sampled_from([{}, None, "id", 5, [], ["id"], True])
)


@pytest.mark.parametrize("id_", FIT)
def test_valid_ids(id_: str) -> None:
    assert id_of({"id": id_}) == id_
    assert ids_of([{"id": id_}]) == [id_]


@pytest.mark.parametrize("id_", [*UNFIT, *NO_TEXT])
def test_invalid_ids(id_: Any) -> None:
    assert id_of({"id": id_}) is None
    assert ids_of([{"id": ID}, {"id": id_}]) == [ID]


@given(st.lists(ELEMENTS, max_size=4))
def test_the_ids_of_a_page_match_its_elements(page: list[Any]) -> None:
    expected = [found for element in page if (found := id_of(element)) is not None]
    assert ids_of(page) == ids_of(Items(page)) == Items(page).ids == expected
