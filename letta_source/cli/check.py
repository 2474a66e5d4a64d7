"""`letta-source check`."""

from __future__ import annotations

import argparse
from typing import Any

from letta_source.cli.arguments import add_command
from letta_source.cli.run import CODES, add_base_url
from letta_source.errors import ExitCode


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    command = add_command(commands, "check", check, "reach the server, and say what it has", CODES)
    add_base_url(command)


def check(options: argparse.Namespace) -> int:
    """Print which families of endpoints the server has."""
    from letta_source.loading.preflight import check_families
    from letta_source.schema.resources import list_of_family
    from letta_source.settings.places import providers
    from letta_source.source import letta
    from letta_source.state.session import Session

    session = Session()
    # Before dlt reads its files: of one that is broken it shows a traceback.
    providers()
    letta(base_url=options.base_url, session=session)
    families = check_families(session.settings)
    key = "with the key" if session.settings.api_key else "without a key"
    print(f"{session.settings.base_url} answers {key}.")
    for family, missing in families.items():
        absent = list_of_family()[family].absent
        print(f"  {family:<14} {'yes' if missing is None else f'no, {absent} ({missing[:80]})'}")
    return ExitCode.OK
