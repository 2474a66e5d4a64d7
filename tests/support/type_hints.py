"""Remember the type hints that dlt looks up anew whenever it validates a schema: a tenth of a load's time."""

from __future__ import annotations

from typing import Any

from dlt.common import validation

_validation: Any = validation
_look_up = _validation.get_type_hints
_known: dict[type, dict[str, Any]] = {}


def _remembered(spec: type, **namespaces: Any) -> dict[str, Any]:
    if spec not in _known:
        _known[spec] = _look_up(spec, **namespaces)
    return dict(_known[spec])


_validation.get_type_hints = _remembered
