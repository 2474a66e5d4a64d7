"""The memory of pages that were seen before: it is small, and yet finds every repetition."""

from __future__ import annotations

import pytest

from letta_source.paging.direction import SeenPages


def page(*ids: str) -> list[dict[str, str]]:
    return [{"id": one} for one in ids]


def test_items_of_the_last_page_and_the_milestone_are_dropped() -> None:
    seen = SeenPages()
    for one in ("ab", "cd", "ef"):
        seen.add(page(*one))
    # The second page is the milestone.
    for known in ("ef", "cd"):
        assert not seen.without(page(*known))
    assert seen.without(page(*"fgh")) == page(*"gh")
    # After its last item the walk would go on with what it has read.
    assert not seen.without(page(*"gf"))


@pytest.mark.parametrize("lead", [0, 1, 6])
@pytest.mark.parametrize("length", [1, 2, 5])
def test_a_cycle_of_pages_is_found_wherever_it_begins(lead: int, length: int) -> None:
    seen = SeenPages()
    for number in range(100):
        at = number if number < lead else lead + (number - lead) % length
        if not seen.without(page(str(at))):
            break
        seen.add(page(str(at)))
    assert lead + length <= seen.count <= 4 * (lead + length)
