"""Write the results of commit cc101f0 for the pages, run by the Python of an environment with that commit.

`make` starts it with a folder and two URLs. It imports the modules of that commit, not the current ones.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import dumps  # type: ignore[import-not-found]  # its folder is that of this file


def old(module: str) -> Any:
    return import_module(".".join(("letta_source", module)))


def tables_of(page: Any) -> dict[str, Any]:
    """Do as `flattening.tables_of`."""
    resource, body = old("tables").RESOURCES[page.resource], page.body.encode()
    items = old("columnar").read_columnar(body) if page.is_walked else None
    if items is None:
        items = old("text").parse_json(body)
    if resource.name == "message_search":
        items = [old("shapes").search_result(item) for item in items]
    rows = old("flatten").Rows(resource, tombstones=True, sequence=dumps.SEQUENCE)
    rows.add(old("flatten").split_page(items)[0], page.parent_id, page.again)
    return dict(rows.tables(dumps.LOAD_ID))


def main(folder: Path, base_url: str, cloud_url: str) -> None:
    tables = old("tables")
    schema = dumps.schema_dump(tables.RESOURCES, tables.all_tables())
    schema["dlt"] = dumps.dlt_dumps(folder, base_url, cloud_url)
    (folder / "schema.json").write_text(json.dumps(schema, indent=1) + "\n", "utf-8")
    with (folder / "rows.jsonl").open("w", encoding="utf-8") as rows:
        for line in (folder / "pages.jsonl").read_text("utf-8").split("\n")[:-1]:
            made = dumps.rows_dump(tables_of(dumps.Page(**json.loads(line))))
            rows.write(dumps.to_line({"page": json.loads(line), "rows": made}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
