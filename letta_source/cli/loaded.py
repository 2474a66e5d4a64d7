"""Open a loaded dataset for the commands that read it."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from letta_source.cli.arguments import target_of

if TYPE_CHECKING:
    import dlt


@contextmanager
def opened(options: argparse.Namespace, output: Path | None) -> Iterator[tuple[dlt.Pipeline, Path]]:
    """Yield the pipeline and a folder for what does not fit into memory; signals end the process."""
    from letta_source.cli.signals import stopping
    from letta_source.export.output import part_of
    from letta_source.loading.dataset import reading
    from letta_source.safe_text import visible

    target = target_of(options)
    with tempfile.TemporaryDirectory(prefix="letta-export-") as folder:

        def last_words() -> str:
            shutil.rmtree(folder, ignore_errors=True)
            if output:
                part_of(output.resolve()).unlink(missing_ok=True)
            return "letta-source: stopped; nothing was exported"

        with stopping(last_words), reading(target) as pipeline:
            yield pipeline, Path(folder)
    # Not earlier: an error prints one line only.
    print(f"from {visible(target.where())}", file=sys.stderr)
