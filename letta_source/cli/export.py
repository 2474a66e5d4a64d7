"""`letta-source export` and `letta-source transcript`. Imports nothing heavy before it is run."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    import dlt
    import pyarrow as pa

    from letta_source.export.selection import Selection

OK, FAILED = 0, 1
EXIT_CODES = """\
exit codes:
  0  all rows were written
  1  the export failed; a file that was there is as it was
  2  wrong usage or configuration, or nothing was loaded there

Credentials are dlt's own settings, as for `letta-source run`.
"""


def add_export_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("table", metavar="TABLE", help="such as agent_messages; `discover` lists them")
    to = command.add_argument_group("to")
    to.add_argument("--output", metavar="FILE", help="written beside, and put there once it is whole")
    to.add_argument(
        "--format", choices=("parquet", "csv", "jsonl"), help="default: what the file is called, else jsonl"
    )
    what = command.add_argument_group("what")
    _add_window(what)
    what.add_argument("--agent-id", action="append", metavar="ID", help="only this agent; may be repeated")
    what.add_argument("--type", action="append", metavar="TYPE", help="as user_message; may be repeated")
    what.add_argument("--columns", metavar="A,B", help="only these, in this order")
    what.add_argument(
        "--children",
        nargs="?",
        const="",
        metavar="A,B",
        help="with content, tool_calls, tool_returns and approvals as lists, or with some of them",
    )


def add_transcript_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("agent_id", metavar="AGENT_ID", help="whose messages; the table agents lists them")
    what = command.add_argument_group("what")
    what.add_argument(
        "--conversation-id", metavar="ID", help="only this conversation; `default` is what is in none"
    )
    _add_window(what)


def _add_window(what: argparse._ArgumentGroup) -> None:
    what.add_argument("--start-date", metavar="DATE", help="only what was created then or later")
    what.add_argument("--end-date", metavar="DATE", help="only what was created before it")


def export(options: argparse.Namespace) -> int:
    """Writes one table.

    Raises:
        LettaError: nothing was written to the file.
    """
    from letta_source.errors import ConfigError
    from letta_source.export.selection import select
    from letta_source.export.write import FORMATS

    output = Path(options.output) if options.output not in (None, "-") else None
    suffix = output.suffix[1:].lower() if output else ""
    format_ = options.format or (suffix if suffix in FORMATS else "jsonl")
    if format_ == "parquet" and not output:
        raise ConfigError("Parquet needs a file: --output FILE")
    if output and output.is_dir():
        raise ConfigError(f"{output} is a folder: name a file")
    selection = select(
        options.table,
        _listed(options.columns),
        False if options.children is None else (_listed(options.children) or True),
        agent_ids=options.agent_id,
        message_types=options.type,
        start_date=options.start_date,
        end_date=options.end_date,
    )
    with _opened(options, output) as (pipeline, folder):
        from letta_source.export.reading import read

        rows = _write(read(pipeline, selection, folder), output, format_, selection)
    print(f"{rows:,} rows of {options.table}{f' in {output}' if output else ''}", file=sys.stderr)
    return OK


def transcript(options: argparse.Namespace) -> int:
    """Prints what was said."""
    from letta_source.export import conversation

    with _opened(options, None) as (pipeline, _):
        said = conversation(
            pipeline,
            options.agent_id,
            options.conversation_id,
            start_date=options.start_date,
            end_date=options.end_date,
        )
    sys.stdout.buffer.write(f"{said}\n".encode())
    sys.stdout.flush()
    return OK


def _listed(names: str | None) -> list[str] | None:
    return None if names is None else [name.strip() for name in names.split(",") if name.strip()]


def _write(batches: Iterator[pa.RecordBatch], output: Path | None, format_: str, selection: Selection) -> int:
    from letta_source.export.write import writer, written_whole

    def write(file: BinaryIO) -> int:
        rows = 0
        with writer(format_, file, selection) as writing:
            for batch in batches:
                writing.write(batch)
                rows += batch.num_rows
        file.flush()
        return rows

    if output is None:
        return write(sys.stdout.buffer)
    with written_whole(output) as file:
        return write(file)


@contextmanager
def _opened(options: argparse.Namespace, output: Path | None) -> Iterator[tuple[dlt.Pipeline, Path]]:
    """The pipeline, and a folder for what does not fit into memory; ends the process when it is told to."""
    from letta_source.cli.signals import stopping
    from letta_source.export.write import part_of
    from letta_source.loading.target import Target

    target = Target(options.pipeline_name, options.destination, options.dataset_name).resolved()
    with tempfile.TemporaryDirectory(prefix="letta-export-") as folder:

        def last_words() -> str:
            shutil.rmtree(folder, ignore_errors=True)
            if output:
                part_of(output.resolve()).unlink(missing_ok=True)
            return "letta-source: stopped; nothing was exported"

        with stopping(FAILED, last_words), target.reading() as pipeline:
            yield pipeline, Path(folder)
