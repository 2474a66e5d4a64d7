"""Settings, typed and validated, with the place that each comes from."""

from letta_source.settings.masking import MaskAction
from letta_source.settings.model import (
    CLOUD_URL,
    SETTINGS,
    Ids,
    Moment,
    Settings,
    TableFormat,
    make_settings,
    validated,
)
from letta_source.settings.values import is_loopback

__all__ = [
    "CLOUD_URL",
    "SETTINGS",
    "Ids",
    "MaskAction",
    "Moment",
    "Settings",
    "TableFormat",
    "is_loopback",
    "make_settings",
    "validated",
]
