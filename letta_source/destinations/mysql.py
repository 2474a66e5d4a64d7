"""MySQL's and MariaDB's TEXT, which dlt chooses, holds 65,535 bytes: less than dlt's own copy of a schema."""

from __future__ import annotations

from typing import Any


def widen_texts() -> None:
    """From now on dlt makes columns of texts LONGTEXT there, which holds 4 GB."""
    # Only who loads by sqlalchemy has it installed.
    from dlt.destinations.impl.sqlalchemy import dialect
    from dlt.destinations.impl.sqlalchemy.type_mapper import MysqlVariantTypeMapper
    from sqlalchemy import Text
    from sqlalchemy.dialects.mysql import LONGTEXT

    class TypeMapper(MysqlVariantTypeMapper):
        def db_type_from_text_type(self, column: Any, table: Any) -> Any:
            made = super().db_type_from_text_type(column, table)
            return made.with_variant(LONGTEXT(), "mysql", "mariadb") if type(made) is Text else made

    class Capabilities(dialect.MysqlDialectCapabilities):
        def type_mapper_class(self) -> Any:
            return TypeMapper

    for name in ("mysql", "mariadb"):
        dialect.register_dialect_capabilities(name, Capabilities)
