"""The local variables of an error's frames, which a crash reporter would send."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType

from tests.support.paths import ROOT

PACKAGE = str(ROOT / "letta_source")
_TESTS = str(ROOT / "tests")


def variables(error: BaseException | None) -> Iterator[tuple[str, str]]:
    """Yield the place and the repr of each local variable of all frames but the tests', and of each error."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        error = waiting.pop()
        if error is None or id(error) in seen:
            continue
        seen.add(id(error))
        waiting += [error.__cause__, error.__context__, *getattr(error, "exceptions", ())]
        yield f"{type(error).__name__}", f"{error!r} {error} {error.args!r}"
        trace: TracebackType | None = error.__traceback__
        while trace:
            code = trace.tb_frame.f_code
            if not code.co_filename.startswith(_TESTS):
                for name, value in trace.tb_frame.f_locals.items():
                    yield f"{code.co_filename.removeprefix(PACKAGE)}:{code.co_name}: {name}", _shown(value)
            trace = trace.tb_next


def _shown(value: object) -> str:
    try:
        return repr(value)
    except Exception as error:
        return f"<{type(error).__name__}>"
