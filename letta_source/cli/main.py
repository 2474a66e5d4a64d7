"""The command line, `letta-source`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from letta_source.cli import export as exports
from letta_source.cli import report as reports

OK, FAILED, USAGE, INCOMPLETE = 0, 1, 2, 3

_EXIT_CODES = """\
exit codes:
  0  everything was loaded
  1  the load failed
  2  wrong usage or configuration; nothing was touched
  3  loaded, but something could not be read: the log and the table load_issues name it

The key is taken from LETTA_API_KEY, the server from LETTA_BASE_URL (default https://api.letta.com), the
project from LETTA_PROJECT, or all three from dlt's config and secrets.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    # dlt reports usage to its makers unless told not to.
    os.environ.setdefault("RUNTIME__DLTHUB_TELEMETRY", "false")
    # Its log of a failed load is long, with tracebacks; what counts of it is one line of ours.
    os.environ.setdefault("RUNTIME__LOG_LEVEL", "CRITICAL")
    # It would keep every load package that was loaded.
    os.environ.setdefault("LOAD__DELETE_COMPLETED_JOBS", "true")
    # pyarrow's own would keep what large pages took; this one gives it back, and is no slower.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    from letta_source.errors import LettaError, OutputFailed

    try:
        return int(options.command(options))
    except LettaError as error:
        from letta_source.loading.run import LoadFailed
        from letta_source.loading.summary import summary

        if isinstance(error, LoadFailed) and error.loaded:
            print(summary(error.loaded.session, error.loaded.new))
        print(f"letta-source: {error}", file=sys.stderr)
        return FAILED if isinstance(error, (LoadFailed, OutputFailed)) else USAGE
    except BrokenPipeError:
        # Whoever read our output had enough: `| head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except KeyboardInterrupt:
        print("letta-source: stopped; the next run goes on from the last finished load", file=sys.stderr)
        return FAILED


def command() -> NoReturn:
    """`main`, and the end of the process."""
    try:
        code = main()
        sys.stdout.flush()
    except SystemExit as left:
        # So argparse ends.
        code = int(left.code or 0)
    except BrokenPipeError:
        code = OK
    sys.stderr.flush()
    # All is written and closed; to take some thousand modules apart would take half a second.
    os._exit(code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="letta-source",
        description="Loads the conversations of a Letta server into a data warehouse.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    check = _command(commands, "check", _check, "reach the server, and say what it has")
    _add_base_url(check)

    discover = _command(commands, "discover", _discover, "list the resources, their tables, keys and columns")
    discover.add_argument("--json", action="store_true", help="as JSON")

    run = _command(commands, "run", _run, "load; run again, it adds what is new")
    _add_run_options(run)

    export = _command(commands, "export", exports.export, "write a table, or a part of it, to a file")
    exports.add_export_options(export)
    transcript = _command(
        commands, "transcript", exports.transcript, "print what an agent heard, did and said"
    )
    exports.add_transcript_options(transcript)
    report = _command(commands, "report", reports.report, "write an HTML page: use, latency, tools, cost")
    reports.add_options(report)
    for reads in (export, transcript, report):
        reads.epilog = reports.EXIT_CODES if reads is report else exports.EXIT_CODES
        _add_place(reads.add_argument_group("where from"))

    _command(commands, "demo", _demo, "load a small Letta that is in the package: needs no server, no key")
    return parser


def _command(commands: Any, name: str, function: Any, what: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=what,
        description=f"{what[0].upper()}{what[1:]}.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(command=function)
    return command


def _add_base_url(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--base-url", metavar="URL", help="where Letta answers, such as http://localhost:8283"
    )


def _add_run_options(run: argparse.ArgumentParser) -> None:
    _add_base_url(run)
    to = run.add_argument_group("where to")
    _add_place(to)
    to.add_argument(
        "--table-format", metavar="FORMAT", help="of files: delta or iceberg, which can change rows"
    )
    to.add_argument(
        "--shard",
        metavar="I/N",
        help="load only this part of the agents, as 0/4; the N parts load side by side",
    )
    what = run.add_argument_group("what")
    what.add_argument("--resources", default="", metavar="A,B", help="only these; `discover` lists them")
    what.add_argument(
        "--agent-id", type=_text, action="append", metavar="ID", help="only this agent; may be repeated"
    )
    what.add_argument(
        "--batch-id",
        type=_text,
        action="append",
        metavar="ID",
        help="also this batch, which the server's list forgot; may be repeated",
    )
    what.add_argument(
        "--start-date", metavar="DATE", help="only what was created then or later; leaves the state alone"
    )
    what.add_argument(
        "--end-date", metavar="DATE", help="only what was created before it; leaves the state alone"
    )
    what.add_argument("--refresh", action="store_true", default=None, help="read everything again")
    what.add_argument(
        "--search-query",
        type=_text,
        metavar="TEXT",
        help="Cloud: load what a search for it finds, as message_search",
    )
    what.add_argument(
        "--mask",
        type=_text,
        action="append",
        metavar="COLUMN=HOW",
        help="drop, hash or redact a column, or `content`, all that was said; may be repeated",
    )
    what.add_argument("--images", metavar="HOW", help="keep, drop or hash those in messages (default: keep)")
    how = run.add_argument_group("how")
    how.add_argument(
        "--lag", metavar="TIME", help="how far a run overlaps the last one, such as 10m (default: 10m)"
    )
    how.add_argument(
        "--page-size", type=int, metavar="N", help="messages a request, 1 to 1000 (default: 1000)"
    )
    how.add_argument("--max-workers", type=int, metavar="N", help="requests in flight (default: 8)")
    how.add_argument(
        "--requests-per-second", type=float, metavar="N", help="at most, all together (default: no cap)"
    )


def _add_place(place: argparse._ArgumentGroup) -> None:
    place.add_argument(
        "--destination",
        type=_text,
        default="duckdb",
        metavar="NAME",
        help="any destination of dlt (default: duckdb)",
    )
    place.add_argument(
        "--dataset-name",
        type=_text,
        default="letta",
        metavar="NAME",
        help="schema of the tables (default: letta)",
    )
    place.add_argument(
        "--pipeline-name",
        type=_text,
        default="letta",
        metavar="NAME",
        help="whose state to go on from (default: letta)",
    )


def _text(text: str) -> str:
    """Empty it comes of a variable that is not set, and would silently mean something else."""
    if not text.strip():
        raise argparse.ArgumentTypeError("must not be empty")
    return text


def _check(options: argparse.Namespace) -> int:
    from letta_source.loading.preflight import check_families
    from letta_source.source import letta
    from letta_source.state.session import Session

    session = Session()
    # dlt takes None for a value, and its config would not be asked.
    letta(**({} if options.base_url is None else {"base_url": options.base_url}), session=session)
    families = check_families(session.settings)
    key = "with the key" if session.settings.api_key else "without a key"
    print(f"{session.settings.base_url} answers {key}.")
    for family, missing in families.items():
        fallback = ", read through runs" if family == "steps" else ", skipped"
        print(f"  {family:<14} {'yes' if missing is None else f'no{fallback} ({missing[:80]})'}")
    return OK


def _discover(options: argparse.Namespace) -> int:
    import json

    from letta_source.loading.summary import described, described_text

    print(json.dumps(described(), indent=2) if options.json else described_text())
    return OK


def _run(options: argparse.Namespace) -> int:
    from letta_source.cli.signals import stopping, what_is_kept
    from letta_source.loading.run import Load, load
    from letta_source.loading.summary import summary
    from letta_source.state.session import Session

    session = Session()
    what = Load(
        settings={
            "base_url": options.base_url,
            "agent_ids": options.agent_id,
            "batch_ids": options.batch_id,
            "start_date": options.start_date,
            "end_date": options.end_date,
            "lag": options.lag,
            "page_size": options.page_size,
            "max_workers": options.max_workers,
            "requests_per_second": options.requests_per_second,
            "refresh": options.refresh,
            "search_query": options.search_query,
            "shard": options.shard,
            "table_format": options.table_format,
            "mask": options.mask and ",".join(options.mask),
            "images": options.images,
        },
        resources=[name.strip() for name in options.resources.split(",") if name.strip()],
        destination=options.destination,
        dataset_name=options.dataset_name,
        pipeline_name=options.pipeline_name,
    )
    _forgo_pandas()
    with stopping(FAILED, lambda: f"letta-source: {what_is_kept(session)}"):
        loaded = load(what, session)
    print(summary(loaded.session, loaded.new))
    if loaded.session.problems:
        print(f"{loaded.session.problems} could not be read: see load_issues", file=sys.stderr)
        return INCOMPLETE
    return OK


def _forgo_pandas() -> None:
    """With its first conversion pyarrow imports pandas, to know its kinds of null: half a second, 40 MB."""
    import pyarrow as pa

    class NoPandas:
        @staticmethod
        def find_spec(name: str, path: object = None, target: object = None) -> None:
            if name == "pandas":
                raise ModuleNotFoundError(name)

    sys.meta_path.insert(0, NoPandas)
    try:
        pa.scalar(0)
    finally:
        sys.meta_path.remove(NoPandas)


def _demo(options: argparse.Namespace) -> int:
    from letta_source.cli.demo import show

    return show()


if __name__ == "__main__":
    command()
