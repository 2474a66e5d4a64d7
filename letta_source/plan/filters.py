"""Filters from the settings: which lists to read, and which of their items."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from letta_source.errors import ConfigError
from letta_source.schema.card import Resource
from letta_source.schema.resources import RESOURCES
from letta_source.settings import Settings
from letta_source.settings.masking import AS_GIVEN
from letta_source.state.resource_state import ResourceState
from letta_source.times import created_at


def assert_loadable(card: Resource, settings: Settings) -> None:
    """Check that the settings fit a resource.

    Raises:
        ConfigError: A setting that it needs is missing, or it cannot be limited to agents.
    """
    if card.needs and not getattr(settings, card.needs):
        what, option = card.needs.rpartition("_")[2], card.needs.replace("_", "-")
        raise ConfigError(f"{card.name} needs a {what}: --{option} TEXT")
    if card.no_agents and settings.agent_ids:
        raise ConfigError(f"{card.name} cannot be limited to agents, {card.no_agents}")


def assert_effective(names: Collection[str], settings: Settings) -> None:
    """Check that an option for a resource is given only if that resource is loaded.

    Settings from the configuration are not checked: they may be meant for other loads.

    Args:
        names: names of the resources that are loaded.

    Raises:
        ConfigError: an option has no effect; the message names it and the resource.
    """
    families = {RESOURCES[name].family for name in names}
    read_by = {card.needs: card.name for card in RESOURCES.values() if card.needs}
    unread = {setting: name for setting, name in read_by.items() if name not in names}
    if "batches" not in families:
        unread["batch_ids"] = "batches"
    for setting, name in unread.items():
        if getattr(settings, setting) and settings.place_of(setting) == AS_GIVEN:
            option = setting.replace("_", "-").removesuffix("s")
            raise ConfigError(f"--{option} has no effect without {name}: add it to --resources")


def list_keys(card: Resource, settings: Settings) -> tuple[str, ...]:
    """Return the keys of the lists to read: one per requested agent, each with its own cursor.

    A single empty key stands for the whole list, if it is not limited by agent.
    """
    return (settings.agent_ids if card.limited_by == "parameter" else ()) or ("",)


def joint_key(settings: Settings) -> str:
    """Return the key of a list that cannot be filtered by agent."""
    return ",".join(sorted(settings.agent_ids))


def is_wanted(settings: Settings, item: Mapping[str, Any], timeless: bool = False) -> bool:
    """Return True if the item belongs to the requested agents and, unless timeless, to the window."""
    only = settings.agent_ids
    if only and (item.get("agent_id") or only[0]) not in only:
        return False
    if only and isinstance(item.get("agent_ids"), list) and not has_agent(item, only):
        return False
    if timeless or not settings.window:
        return True
    time = created_at(item)
    start, end = settings.start_date, settings.end_date
    return time is None or not ((start and time < start) or (end and time >= end))


def has_agent(item: Mapping[str, Any], agent_ids: Collection[str]) -> bool:
    """Return True if a group or conversation belongs to one of these agents."""
    members = item.get("agent_ids")
    # A group's manager is not among its agent_ids.
    named = [
        *(members if isinstance(members, list) else ()),
        item.get("manager_agent_id"),
        item.get("agent_id"),
    ]
    return any(member in agent_ids for member in named)


def may_hold(settings: Settings, run: Mapping[str, Any]) -> bool:
    """Return True if any part of this run can lie in the window."""
    begun, ended = created_at(run), created_at({"date": run.get("completed_at")})
    start, end = settings.start_date, settings.end_date
    return not ((start and ended and ended < start) or (end and begun and begun >= end))


def reads_whole(card: Resource, state: ResourceState) -> bool:
    """Return True if the load reads the resource's lists from start to end, not only news or some agents."""
    is_whole = card.walk == "list" and not (state.asks_for_changes or state.settings.agent_ids)
    return is_whole or card.walk == "each_list" or state.settings.refresh
