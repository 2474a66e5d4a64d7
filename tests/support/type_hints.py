"""Remember what dlt finds out about type hints, each time anew: a sixth of a load's time."""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

from dlt.common import typing, validation
from dlt.common.configuration.specs import base_configuration

_validation: Any = validation
_look_up = _validation.get_type_hints
_known: dict[type, dict[str, Any]] = {}


def _remembered(spec: type, **namespaces: Any) -> dict[str, Any]:
    if spec not in _known:
        _known[spec] = _look_up(spec, **namespaces)
    return dict(_known[spec])


_validation.get_type_hints = _remembered


def _remember_answers(module: Any, name: str) -> None:
    """Replace a function of dlt, also where it is imported, by one that computes each answer once."""
    plain = getattr(module, name)
    remembering = cache(plain)
    for importing in [one for key, one in sys.modules.items() if key.partition(".")[0] == "dlt"]:
        if vars(importing).get(name) is plain:
            setattr(importing, name, remembering)


for _name in ("is_literal_type", "is_optional_type", "is_subclass", "is_union_type"):
    _remember_answers(typing, _name)
_remember_answers(base_configuration, "extract_inner_hint")
