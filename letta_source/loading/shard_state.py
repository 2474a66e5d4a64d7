"""State belongs to the buckets of `letta_source.shards`: a shard takes over the state of its buckets.

Each shard has a pipeline of its own, and with it a state of its own. If several states hold a bucket, the one
with the highest `turn` counts: a shard that takes over a bucket gets a turn higher than all others.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

import dlt
from dlt.common.destination.exceptions import DestinationUndefinedEntity

from letta_source.destinations.dlt_internals import local_value, stored_state
from letta_source.destinations.dlt_storage import damage_explained, newest_loads
from letta_source.schema.resources import RESOURCES
from letta_source.shards import WHOLE, Shard, bucket_of

State = dict[str, Any]
"""The source's state: `resources`, and `turn` once it was taken over from another shard."""
_SOURCE = "letta"
# Maps a pipeline to the load whose state was already considered: in a fleet each state is large.
_SEEN = "letta_source_seen_states"
# Stands for the resources that are not divided; shard 0 has it.
_REST = -1


def pipeline_name_of(base: str, shard: Shard) -> str:
    """Return the name of a shard's pipeline."""
    return base if shard.is_whole else f"{base}_shard_{shard.index}_of_{shard.count}"


def stored_states(
    pipeline: dlt.Pipeline, base: str, shard: Shard
) -> tuple[dict[Shard, State], dict[str, str]]:
    """Return the states of shards with another count, which may hold a bucket of this one.

    Returns:
        Their states, except those that `adopt` has seen; and the load id of each, by pipeline.
    """
    states: dict[Shard, State] = {}
    seen: dict[str, str] = {}
    known: Mapping[str, str] = local_value(pipeline, _SEEN) or {}
    with pipeline.destination_client() as client, suppress(DestinationUndefinedEntity):
        for name, load_id in newest_loads(client).items():
            other = _shard_of(name, base)
            if other is None or other.count == shard.count or known.get(name) == load_id:
                continue
            with damage_explained(pipeline, name):
                stored = stored_state(client, name)
            if stored:
                # This load is older than the newest one if that is not finished.
                state, seen[name] = stored
                states[other] = state.get("sources", {}).get(_SOURCE, {})
    return states, seen


def adopt(
    pipeline: dlt.Pipeline, shard: Shard, others: Mapping[Shard, State], seen: Mapping[str, str]
) -> None:
    """Copy the state of this shard's buckets into the pipeline, from the shards that had them last."""
    with pipeline.managed_state() as state:
        sources = state.setdefault("sources", {})
        mine: State = sources.get(_SOURCE, {})
        if (adopted := adopted_state(shard, mine, others)) is not mine:
            sources[_SOURCE] = adopted
        if seen:
            pipeline.set_local_state_val(_SEEN, {**(local_value(pipeline, _SEEN) or {}), **seen})


def forget_resources(pipeline: dlt.Pipeline, resources: Collection[str]) -> None:
    """Drop the state of these resources, so that they are read from the start."""
    if resources:
        with pipeline.managed_state() as state:
            mine: State = state.get("sources", {}).get(_SOURCE, {})
            for name in resources:
                mine.get("resources", {}).pop(name, None)


def is_superseded(pipeline: dlt.Pipeline, shard: Shard, others: Mapping[Shard, State]) -> bool:
    """Return True if other shards have loaded its buckets since: its unfinished load is older than theirs."""
    mine: State = pipeline.state.get("sources", {}).get(_SOURCE, {})
    return adopted_state(shard, mine, others) is not mine


def adopted_state(shard: Shard, mine: State, others: Mapping[Shard, State]) -> State:
    """Return the state to continue with; `mine` itself if there is nothing to take over."""
    states = {shard: mine, **others}
    buckets = [*shard.buckets, *([_REST] if shard.index == 0 else [])]
    owners = {bucket: _owner(states, bucket) for bucket in buckets}
    if all(owner is None or owner is mine for owner in owners.values()):
        return mine
    resources: State = {}
    for name, resource in RESOURCES.items():
        if resource.divided:
            parts = {
                bucket: owner["resources"].get(name, {}) if (owner := owners[bucket]) else {}
                for bucket in shard.buckets
            }
            resources[name] = _joined(parts, by_list=not resource.is_walked)
        elif owner := owners.get(_REST):
            resources[name] = owner["resources"].get(name, {})
    return {**mine, "resources": resources, "turn": 1 + max(map(_turn_of, states.values()))}


def _owner(states: Mapping[Shard, State], bucket: int) -> State | None:
    holding = [state for shard, state in states.items() if state.get("resources") and _holds(shard, bucket)]
    return max(holding, key=_turn_of, default=None)


def _holds(shard: Shard, bucket: int) -> bool:
    return shard.index == 0 if bucket == _REST else bucket in shard.buckets


def _turn_of(state: State) -> int:
    return int(state.get("turn", 0))


def _joined(parts: Mapping[int, State], by_list: bool) -> State:
    """Join the state of all buckets of one resource.

    Args:
        by_list: cursors belong to lists, and `unsettled` is split by bucket; else cursors belong to parents.
    """
    sweeps = _joined_sweeps(parts)
    common: State = {"swept": sweeps} if sweeps else {}
    if added := [part["added_until"] for part in parts.values() if "added_until" in part]:
        common["added_until"] = max(added)
    if not by_list:
        return common | {
            field: {
                parent_id: kept
                for bucket, part in parts.items()
                for parent_id, kept in part.get(field, {}).items()
                if bucket_of(parent_id) == bucket
            }
            for field in ("cursors", "gaps", "reread", "issues")
            if any(field in part for part in parts.values())
        }
    cursors, ahead = _joined_lists({bucket: part.get("cursors", {}) for bucket, part in parts.items()})
    for bucket, part in parts.items():
        for key, positions in part.get("ahead", {}).items():
            # An earlier owner had read farther than the list has been read since.
            position = positions.get(str(bucket))
            if position and position > ahead.get(key, {}).get(str(bucket), []):
                ahead.setdefault(key, {})[str(bucket)] = position
    unsettled: dict[str, dict[str, Any]] = {}
    for bucket, part in parts.items():
        for key, units in part.get("unsettled", {}).items():
            unsettled.setdefault(key, {}).update(
                {unit_id: since for unit_id, since in units.items() if bucket_of(unit_id) == bucket}
            )
    return common | {"cursors": cursors, "ahead": ahead, "unsettled": unsettled}


def _joined_sweeps(parts: Mapping[int, State]) -> dict[str, str]:
    """Return the oldest sweep of all buckets, by scope of agents; each bucket must have swept that scope."""
    sweeps = [part.get("swept", {}) for part in parts.values()]
    common = set.intersection(*map(set, sweeps))
    return {scope: min(swept[scope] for swept in sweeps) for scope in common}


def _joined_lists(cursors: Mapping[int, State]) -> tuple[State, dict[str, dict[str, list[str]]]]:
    """Return for each list the cursor of the bucket that is farthest behind, and the cursors of the others.

    A list for which some bucket has no cursor is read from its start.
    """
    joined: State = {}
    ahead: dict[str, dict[str, list[str]]] = {}
    for key in {key for of_lists in cursors.values() for key in of_lists}:
        found = {bucket: of_lists.get(key) for bucket, of_lists in cursors.items()}
        dated = {bucket: cursor for bucket, cursor in found.items() if cursor and cursor[0]}
        if len(dated) == len(found):
            joined[key] = min(dated.values())
        for bucket, cursor in dated.items():
            if cursor != joined.get(key):
                ahead.setdefault(key, {})[str(bucket)] = cursor
    return joined, ahead


def _shard_of(name: str, base: str) -> Shard | None:
    if name == base:
        return WHOLE
    found = re.fullmatch(re.escape(base) + r"_shard_(\d+)_of_(\d+)", name)
    return Shard(int(found[1]), int(found[2])) if found else None
