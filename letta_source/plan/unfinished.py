"""The choice of unfinished runs to read again: a server gathers thousands that never finish.

The host lists those that are still active. A run that has left that list is read by its id. A run that has
moved, by its status or a message that names it, is read again. All others are read ever more rarely.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from datetime import timedelta

from letta_source.api.client import Client
from letta_source.errors import FamilyMissing, ParentError
from letta_source.items import Item
from letta_source.paging.pages import Endpoint
from letta_source.paging.walk import Gap, Page, walk_pages
from letta_source.plan.lists import has_id
from letta_source.plan.news import news_since
from letta_source.schema.card import Params
from letta_source.schema.resources import RESOURCES
from letta_source.state.resource_state import ResourceState
from letta_source.state.worklist import is_finished
from letta_source.times import parse_time

_PAGE = 1000
# Up to this many are read again by each load, whether or not a message names them.
_FEW = 16


async def runs_to_read(
    client: Client, state: ResourceState, key: str, run_ids: Iterable[str], only_moved: bool = False
) -> AsyncIterator[tuple[str, Item | None]]:
    """Yield the ids of those unfinished runs to read again, each with the run itself if the host listed it.

    Args:
        only_moved: ignore messages that name a run, for resources that do not read messages.
    """
    run_ids = without_waiting(state, key, run_ids)
    if not run_ids:
        return
    active = await _active_runs(client, state, key, run_ids)
    if active is None:
        for run_id in run_ids:
            yield run_id, None
        return
    still = [run_id for run_id in run_ids if run_id in active]
    named = set() if only_moved else await _named_runs(client, state, key, still)
    worklist = state.worklist(key)
    for run_id in run_ids:
        run = active.get(run_id)
        if run is None:
            yield run_id, None
        elif state.adds_only:
            # Its rows are handed over once it is finished.
            continue
        elif worklist.has_moved(run) or run_id in named or _is_due(state, worklist.known_since(run_id)):
            yield run_id, run


async def steps_to_read(
    client: Client, state: ResourceState, key: str, step_ids: Iterable[str]
) -> AsyncIterator[str]:
    """Yield those of these unfinished steps that are to be read again."""
    worklist = state.worklist(key)
    by_run: dict[str, list[str]] = {}
    for step_id in without_waiting(state, key, step_ids):
        if run_id := worklist.run_of(step_id):
            by_run.setdefault(run_id, []).append(step_id)
        else:
            yield step_id
    if not by_run:
        return
    active = await _active_runs(client, state, key, by_run)
    still = [run_id for run_id in by_run if run_id in (active or {})]
    named = await _named_runs(client, state, key, still)
    for run_id, steps in by_run.items():
        if active is None or run_id not in active or run_id in named or state.sweeps:
            for step_id in steps:
                yield step_id


def without_waiting(state: ResourceState, key: str, parent_ids: Iterable[str]) -> list[str]:
    """Return those of some unfinished ones that miss more than known issues whose retry is not due."""
    worklist = state.worklist(key)
    found = list(parent_ids)
    waiting = {one for one in found if worklist.waits(one) and state.issues.waits(one)}
    state.waiting |= waiting
    return [one for one in found if one not in waiting]


async def _active_runs(
    client: Client, state: ResourceState, key: str, wanted: Iterable[str]
) -> dict[str, Item] | None:
    """Return the unfinished runs by id, asked for once per load; None if the host does not list them."""
    host = state.session.host
    if key not in host.active_runs:
        host.active_runs[key] = await _list_active(client, key, set(wanted))
    return host.active_runs[key]


async def _list_active(client: Client, key: str, wanted: set[str]) -> dict[str, Item] | None:
    """List the unfinished runs until an empty page, or until all that are wanted have come.

    A page that is not full does not prove the end: a host may return fewer than requested.
    """
    card = RESOURCES["runs"]
    params: Params = {**card.params, **({"agent_id": key} if key else {}), "active": "true"}
    active: dict[str, Item] = {}
    try:
        async for event in walk_pages(client, Endpoint(card.path, params, _PAGE, card.family)):
            if isinstance(event, Gap):
                return None
            if isinstance(event, Page):
                runs = [run for run in event.items if has_id(run)]
                if any(map(is_finished, runs)):
                    # The host does not know the parameter, and lists them all.
                    return None
                active |= {run["id"]: run for run in runs}
                if wanted <= active.keys():
                    # Runs beyond this page that another resource wants are read by their ids.
                    break
    except (ParentError, FamilyMissing):
        return None
    return active


async def _named_runs(client: Client, state: ResourceState, key: str, run_ids: list[str]) -> set[str]:
    """Return those runs that new messages name: all if they are few, the latest few if that is unknown."""
    if len(run_ids) <= _FEW and not state.asks_for_changes:
        return set(run_ids)
    news = await news_since(client, state)
    if news is None:
        created = {run_id: state.worklist(key).known_since(run_id) or "" for run_id in run_ids}
        return set(sorted(run_ids, key=lambda run_id: created[run_id])[-_FEW:])
    return news.runs_since(state.changes.since)


def _is_due(state: ResourceState, created: str | None) -> bool:
    """Return True if a sweep reads the run again: within the window, then each time its age has doubled."""
    if not state.sweeps:
        return False
    if created is None:
        return True
    age = state.session.started_at - parse_time(created)
    return age < state.settings.reread_window or _doubled(age, state.since_sweep)


def _doubled(age: timedelta, since: timedelta) -> bool:
    days, before = age // timedelta(days=1), max(age - since, timedelta(0)) // timedelta(days=1)
    return days.bit_length() > before.bit_length()
