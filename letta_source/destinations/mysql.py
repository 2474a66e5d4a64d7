"""MySQL's and MariaDB's TEXT, which dlt chooses, holds 65,535 bytes: less than dlt's own copy of a schema."""

from __future__ import annotations

from typing import Any


def widen_texts() -> None:
    """Have dlt make columns of texts LONGTEXT there from now on, which holds 4 GB."""
    # Only who loads by sqlalchemy has it installed.
    from dlt.destinations.impl.sqlalchemy.dialect import (
        MysqlDialectCapabilities,
        register_dialect_capabilities,
    )
    from sqlalchemy import Text
    from sqlalchemy.dialects.mysql import LONGTEXT

    class Capabilities(MysqlDialectCapabilities):
        def adapt_table(self, table: Any, table_schema: Any) -> Any:
            for column in table.columns:
                if type(column.type) is Text:
                    column.type = LONGTEXT()
            return table

    for name in ("mysql", "mariadb"):
        register_dialect_capabilities(name, Capabilities)
