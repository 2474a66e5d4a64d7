"""Settings: typed, checked, and where each comes from."""

from letta_source.settings.model import (
    CLOUD_URL,
    Ids,
    MaskAction,
    Moment,
    Settings,
    TableFormat,
    make_settings,
    validated,
)

__all__ = [
    "CLOUD_URL",
    "Ids",
    "MaskAction",
    "Moment",
    "Settings",
    "TableFormat",
    "make_settings",
    "validated",
]
