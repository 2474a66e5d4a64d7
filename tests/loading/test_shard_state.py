"""State that moves between shards: parents' by their ids, lists' by how far each bucket was read."""

from __future__ import annotations

from typing import Any

import pytest

from letta_source.loading.shard_state import State, adopted_state
from letta_source.shards import WHOLE, Shard, bucket_of

HALVES = (Shard(0, 2), Shard(1, 2))
EARLY, MIDDLE, LATE = ([f"2024-05-0{day}T00:00:00+00:00", f"step-{day}"] for day in (1, 2, 3))


def of_bucket(bucket: int) -> str:
    return next(one for one in map(str, range(10_000)) if bucket_of(one) == bucket)


def state(turn: int = 0, **resources: State) -> State:
    return {"turn": turn, "resources": resources}


def lists(cursor: Any, **more: Any) -> State:
    """Return one shard's state of `step_messages`, with the cursor of its only list."""
    return {"step_messages": {"cursors": {"": cursor} if cursor else {}, **more}}


def joined(*halves: State) -> State:
    adopted = adopted_state(WHOLE, {}, dict(zip(HALVES, halves, strict=True)))
    found: State = adopted["resources"]["step_messages"]
    return found


def ahead(cursor: list[str], half: int) -> dict[str, list[str]]:
    return {str(bucket): cursor for bucket in HALVES[half].buckets}


def test_a_list_continues_from_the_shard_farthest_behind() -> None:
    found = joined(state(**lists(EARLY)), state(**lists(LATE)))
    assert found["cursors"] == {"": EARLY}
    assert found["ahead"] == {"": ahead(LATE, 1)}


def test_equal_cursors_leave_no_cursors_of_other_shards() -> None:
    found = joined(state(**lists(EARLY)), state(**lists(EARLY)))
    assert (found["cursors"], found["ahead"]) == ({"": EARLY}, {})


@pytest.mark.parametrize("never_read", [None, [None, None], [None, "step-1"]], ids=str)
def test_a_list_that_one_shard_never_read_starts_anew(never_read: Any) -> None:
    found = joined(state(**lists(never_read)), state(**lists(LATE)))
    assert (found["cursors"], found["ahead"]) == ({}, {"": ahead(LATE, 1)})


def test_a_farther_position_of_an_earlier_owner_is_kept() -> None:
    first, second = HALVES[0].buckets[0], HALVES[1].buckets[0]
    known = {"": {str(first): LATE, str(second): LATE}}
    found = joined(state(**lists(EARLY, ahead=known)), state(**lists(MIDDLE)))
    # The first half has no say about the second half's buckets.
    assert found["ahead"] == {"": {**ahead(MIDDLE, 1), str(first): LATE}}
    behind = joined(state(**lists(EARLY)), state(**lists(LATE, ahead={"": {str(second): MIDDLE}})))
    assert behind["ahead"] == {"": ahead(LATE, 1)}


def test_lists_of_several_agents_have_separate_cursors() -> None:
    one = state(step_messages={"cursors": {"agent-1": EARLY, "agent-2": LATE}})
    other = state(step_messages={"cursors": {"agent-1": LATE}})
    found = joined(one, other)
    assert found["cursors"] == {"agent-1": EARLY}
    assert found["ahead"] == {"agent-1": ahead(LATE, 1), "agent-2": ahead(LATE, 0)}


def test_the_highest_turn_with_any_state_owns_a_bucket() -> None:
    """A shard that never read anything has nothing to hand over, even with the latest turn."""
    parents = [of_bucket(0), of_bucket(1)]

    def messages(turn: int, name: str) -> State:
        cursors = {one: ["2024-05-04", name] for one in parents}
        return state(turn, agent_messages={"cursors": cursors})

    others = {Shard(0, 2): messages(3, "third"), Shard(1, 2): messages(1, "first")}
    others |= {Shard(0, 3): {"turn": 9}, Shard(1, 3): {"turn": 8, "resources": {}}}
    adopted = adopted_state(WHOLE, messages(2, "second"), others)
    cursors = adopted["resources"]["agent_messages"]["cursors"]
    assert {one: cursors[one][1] for one in parents} == {parents[0]: "third", parents[1]: "second"}
    assert adopted["turn"] == 10
    assert set(adopted["resources"]["agent_messages"]) == {"cursors"}


def test_without_anything_to_take_over_the_state_stays() -> None:
    mine = state(2, agent_messages={"cursors": {of_bucket(0): EARLY}})
    older = state(1, agents={"cursors": {}})
    nothing: list[dict[Shard, State]] = [{}, {Shard(0, 2): {}}, {Shard(0, 2): state(1)}, {Shard(1, 3): older}]
    for others in nothing:
        assert adopted_state(Shard(0, 2), mine, others) is mine
    assert adopted_state(Shard(1, 2), {}, {}) == {}


def test_undivided_resources_move_from_shard_0_to_shard_0() -> None:
    def listed(turn: int, name: str) -> State:
        return state(turn, runs={"cursors": {"": [EARLY[0], name]}}, agent_messages={"cursors": {}})

    others = {Shard(0, 2): listed(1, "first"), Shard(1, 2): listed(5, "second")}
    adopted = adopted_state(WHOLE, {}, others)
    assert adopted["resources"]["runs"]["cursors"][""][1] == "first"
    assert "runs" not in adopted_state(Shard(2, 3), {}, others)["resources"]


def test_the_latest_added_until_of_all_shards_counts() -> None:
    early, late = (state(**lists(EARLY, added_until=time)) for time in (EARLY[0], LATE[0]))
    assert joined(early, late)["added_until"] == joined(late, early)["added_until"] == LATE[0]
    assert joined(early, state(**lists(LATE)))["added_until"] == EARLY[0]
    assert "added_until" not in joined(state(**lists(EARLY)), state(**lists(LATE)))
