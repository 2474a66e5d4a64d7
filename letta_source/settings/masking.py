"""Merge the masks of all places."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal
from uuid import uuid4

from pydantic import SecretStr

from letta_source.errors import ConfigError
from letta_source.settings.given import keyed_hash
from letta_source.settings.places import Layer
from letta_source.settings.values import mask_value

MaskAction = Literal["drop", "hash", "redact", "keep"] | Callable[[str], str | None]
AS_GIVEN = "as given"
"""The place of arguments and options."""
# The form of `str(Masking)`: `text=drop (as given), images=hash (LETTA_…)`; a place may have parentheses.
_MASK = r"([\w.]+)=(drop|hash|redact|keep|a function) \("
_TOLD = re.compile(rf"{_MASK}(.*?)\)(?=, {_MASK}|\Z)")


@dataclass(frozen=True)
class Masking:
    """Masks and the action for images, with their places.

    Attributes:
        layers: each place with its masks, the most specific place first.
        images: the action for images, None if no place sets it.
        images_by: the place that sets it.
    """

    layers: Sequence[tuple[str, Mapping[str, MaskAction]]] = ()
    images: str | None = None
    images_by: str = AS_GIVEN

    @property
    def mask(self) -> dict[str, MaskAction]:
        """The masks of all places together, by the names used there."""
        return {name: how for _, mask in reversed(self.layers) for name, how in mask.items()}

    def __str__(self) -> str:
        parts = [
            f"{name}={_shown(how)} ({place})" for place, mask in self.layers for name, how in mask.items()
        ]
        if self.images:
            parts.append(f"images={self.images} ({self.images_by})")
        return ", ".join(parts) or "none"


def logged_masking(masks: str) -> Masking:
    """Return masks that load_log has as a text; a function counts as redact."""
    layers: dict[str, dict[str, MaskAction]] = {}
    images = None
    for name, how, place, *_ in _TOLD.findall(masks):
        if name == "images":
            images = how
        else:
            # Each place on its own: a `keep` cancels only masks of its own and of less specific places.
            layers.setdefault(place, {})[name] = "redact" if how == "a function" else how
    return Masking([*layers.items()], images)


def merged(layers: Sequence[Layer]) -> Masking:
    """Merge the masks of all places; `in_force` resolves them for each column.

    Raises:
        ConfigError: two places disagree on images, or a mask is invalid.
    """
    masks = [(layer.where.get("mask", AS_GIVEN), _mask(layer)) for layer in layers if "mask" in layer.values]
    masking = Masking(masks)
    images, images_by = None, AS_GIVEN
    for layer in reversed(layers):
        if (how := layer.values.get("images")) is not None:
            place = layer.where.get("images", AS_GIVEN)
            _check("images", images, how, images_by, place)
            images, images_by = how, place
    return replace(masking, images=images, images_by=images_by)


def in_force(
    masking: Masking,
    actions: Callable[[Mapping[str, MaskAction]], Iterable[tuple[str, MaskAction]]],
    table: str,
) -> dict[str, MaskAction]:
    """Return the action for each column of a table, whatever names the places use.

    A `keep` cancels masks of its own place and of less specific places, but not of a more specific one.

    Args:
        actions: returns the columns that one place's masks cover, each with its action.

    Raises:
        ConfigError: two places set different actions for one column.
    """
    done: dict[str, Any] = {}
    places: dict[str, str] = {}
    for place, mask in reversed(masking.layers):
        for column, how in actions(mask):
            _check(f"mask: {table}.{column}", done.get(column), how, places.get(column, ""), place)
            done[column], places[column] = how, place
    return done


def masking_digest(masking: Masking, key: SecretStr | None, contract: str = "evolve") -> str:
    """Return a digest that identifies masks; one with a function never equals another, not even itself."""
    told = [
        sorted((name, how if isinstance(how, str) else uuid4().hex) for name, how in mask.items())
        for _, mask in masking.layers
        if mask
    ]
    images = masking.images or "keep"
    # Only hashes depend on the key: while nothing is hashed, the key does not change the masks.
    is_keyed = images == "hash" or any(how == "hash" for mask in told for _, how in mask)
    return keyed_hash(key if is_keyed else None, json.dumps([told, images, contract]).encode())[:16]


def _check(what: str, earlier: Any, how: Any, before: str, place: str) -> None:
    if earlier not in (None, "keep", how) and how != "keep":
        raise ConfigError(
            f"{what} is {_shown(earlier)} {_in(before)} but {_shown(how)} {_in(place)}:"
            " use the same value, or set keep in the second"
        )


def _in(place: str) -> str:
    return place if place == AS_GIVEN else f"in {place}"


def _mask(layer: Layer) -> Mapping[str, MaskAction]:
    try:
        mask: Mapping[str, MaskAction] = mask_value(layer.values["mask"])
    except ValueError as error:
        place = layer.where.get("mask", AS_GIVEN)
        wrong = f"mask: {error}" if place == AS_GIVEN else f"mask: {error} ({place})"
    else:
        return mask
    raise ConfigError(wrong)


def _shown(how: Any) -> str:
    return how if isinstance(how, str) else "a function"
