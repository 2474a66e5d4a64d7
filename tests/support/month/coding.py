"""Conversations of coding helpers: failing tests, queries, reviews, a pager at night."""

from __future__ import annotations

import json
from random import Random

from .script import Exchange, Round, Talk, ToolUse, asking, failing, use, verdict

MODULES = (
    "billing/tax",
    "api/orders",
    "web/cart",
    "jobs/nightly",
    "auth/session",
    "search/ranker",
    "etl/facts",
)
ERRORS = (
    ("KeyError", "'currency'"),
    ("AssertionError", "19.99 != 20.0"),
    ("TypeError", "NoneType is not iterable"),
    ("UnicodeDecodeError", "'utf-8' codec can't decode byte 0xe9"),
    ("RecursionError", "maximum depth exceeded"),
)


def _run_tests(module: str, passed: int, failed: int, error: str = "") -> ToolUse:
    out = f"{passed} passed, {failed} failed in 3.2s"
    return ToolUse(
        "run_tests",
        {"path": f"tests/{module}"},
        out,
        failed=bool(failed),
        stdout=(out,),
        stderr=(f"E   {error}",) if error else (),
    )


def failing_test(random: Random) -> Talk:
    """Run a failing test, read the code, fix it, run the test again."""
    module = random.choice(MODULES)
    (kind, text), count = random.choice(ERRORS), random.randrange(8, 90)
    source = f"def total(order):\n    return sum(line['price'] for line in order)  # {module}\n"
    read = use("read_file", source, path=f"src/{module}.py")
    search = use("grep_repository", f"src/{module}.py:12\nsrc/{module}.py:48", pattern=kind)
    patch = f"--- a/src/{module}.py\n+++ b/src/{module}.py\n@@ -1 +1 @@\n-# old\n+# handles {text}\n"
    write = use("apply_patch", "1 file changed", patch=patch)
    picture = "a screenshot of the failing build" if random.random() < 0.25 else None
    talk = [
        Exchange(
            f"CI fails in `{module}` with `{kind}: {text}`. Can you look?",
            f"`{module}` did not expect that value. Now all {count} tests pass:\n\n```diff\n{patch}```",
            (
                Round(
                    "Run them first, to see it fail.", (_run_tests(module, count - 1, 1, f"{kind}: {text}"),)
                ),
                Round("Read the module, and who else raises this.", (read, search)),
                Round("A small patch will do.", (write,)),
                Round("Does it pass now?", (_run_tests(module, count, 0),)),
            ),
            thought="Start from the failing test, not from a guess.",
            image=picture,
            feedback=verdict(random, 0.85),
        )
    ]
    if random.random() < 0.5:
        push = asking(
            random, "open_pull_request", f"https://git.example.com/shop/pull/{random.randrange(200, 999)}",
            "Squash the commits first", title=f"{module}: handle {kind}", base="main",
        )  # fmt: skip
        said = f"Opened: {push.result}" if push.decision == "granted" else f"Understood: {push.reason}."
        talk.append(Exchange("Nice. Open a PR.", said, (Round("Pushing needs approval.", (push,)),)))
    return talk


def query(random: Random) -> Talk:
    """Query a warehouse that sometimes times out."""
    table, limit = random.choice(("orders", "returns", "sessions", "refunds")), random.randrange(3, 6)
    sql = f"SELECT country, count(*) AS n FROM {table} GROUP BY country ORDER BY n DESC LIMIT {limit}"
    rows = [
        {"country": country, "n": random.randrange(100, 9000)}
        for country in ("DE", "FR", "SE", "PL", "JP", "PT")[:limit]
    ]
    slow = random.random() < 0.25
    first = (
        failing(
            "query_warehouse", "QueryTimeout", "cancelled after 30 s", sql=sql.replace(" LIMIT", "  LIMIT")
        )
        if slow
        else use("query_warehouse", json.dumps(rows), sql=sql)
    )
    rounds = [Round("One aggregate by country.", (first,))]
    if slow:
        rounds.append(
            Round(
                "Only this month, then.", (use("query_warehouse", json.dumps(rows), sql=f"{sql} -- month"),)
            )
        )
    listed = "\n".join(f"- {row['country']}: {row['n']:,}" for row in rows)
    return [
        Exchange(
            f"Which countries have most {table} this month?",
            f"{listed}\n\nAs of this morning.",
            tuple(rounds),
            thought="Count by country and sort.",
            feedback=verdict(random),
        ),
        Exchange("And the share of the first?", f"About {random.randrange(28, 61)} %."),
    ]


def review(random: Random) -> Talk:
    """Review a pull request: two reads at once, then remarks."""
    module, number = random.choice(MODULES), random.randrange(200, 999)
    diff = use("get_diff", f"@@ -10,3 +10,9 @@ {module}\n+    retry(3)\n", pull=number)
    read = use("read_file", f'"""{module}."""\n', path=f"src/{module}.py")
    remarks = random.choice(
        (
            "The retry has no backoff; three clients would hammer the service together.",
            "Looks good. One name: `tmp2` says little. ✅",
            "`except Exception` hides the timeout: catch `TimeoutError` alone.",
        )
    )
    return [
        Exchange(
            f"Please review #{number}.",
            remarks,
            (Round("Diff and file side by side.", (diff, read)),),
            thought="Correctness first, then names.",
            feedback=verdict(random, 0.7),
        )
    ]


def incident(random: Random) -> Talk:
    """Handle an alert: read logs, then a restart that must be approved."""
    service = random.choice(("checkout", "search", "mailer", "image-resizer"))
    rate = random.randrange(4, 38)
    logs = use("read_logs", f"{service}: 502 upstream reset ({rate * 7} times)", service=service, minutes=15)
    metrics = (
        failing("get_metrics", "ConnectionError", "metrics.internal: name not resolved", service=service)
        if random.random() < 0.3
        else use("get_metrics", json.dumps({"error_rate": rate / 100, "p95_ms": rate * 90}), service=service)
    )
    restart = asking(
        random, "restart_service", f"{service} restarted", "Drain the queue first", service=service, pods=3
    )
    done = (
        f"{service} is back, errors below 1 %."
        if restart.decision == "granted"
        else f"Holding: {restart.reason}."
    )
    return [
        Exchange(
            f"🚨 {service}: error rate {rate} %. What is going on?",
            f"The upstream resets connections since the deploy of 14:10; {rate * 7} times in 15 minutes.",
            (Round("Logs and metrics together.", (logs, metrics)),),
            thought="Look before touching anything.",
        ),
        Exchange(
            f"Restart {service}.",
            done,
            (Round("A restart touches customers: ask.", (restart,)),),
            feedback=verdict(random),
        ),
    ]


def question(random: Random) -> Talk:
    """Answer a question that needs no tool; sometimes the model's provider is overloaded."""
    asked, answer = random.choice(
        (
            ("What does `functools.cache` do with a list?", "It raises `TypeError`: lists cannot be keys."),
            ("Is `LEFT JOIN … WHERE b.x = 1` an inner join?", "Yes, rows without a match have NULL there."),
            ("How do I undo the last commit but keep the changes?", "`git reset --soft HEAD~1`."),
            ("Regex for a German postcode?", r"`^\d{5}$` — leading zeros matter, keep it a string."),
        )
    )  # fmt: skip
    overloaded = (
        ("LLMServerError", "Overloaded: the provider answered 529") if random.random() < 0.12 else None
    )
    return [
        Exchange(asked, answer, thought="Short answer, no tool.", error=overloaded, feedback=verdict(random))
    ]
