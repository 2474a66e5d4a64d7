"""The server's time, derived from the dates of its responses."""

from __future__ import annotations

import logging
import time
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import httpx
import pytest

from letta_source.api import server as server_module
from letta_source.api.server import Clock, parse_http_date
from tests.support.wire import answering, client_of

OURS = datetime(2026, 5, 4, 12, tzinfo=timezone.utc)


@pytest.fixture(autouse=True)
def _our_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "local_now", lambda: OURS)
    # Observe every response.
    monkeypatch.setattr(server_module, "_SECONDS_APART", -1.0)


def http_date(skew: timedelta) -> str:
    return format_datetime(OURS + skew, usegmt=True)


def skew_by(*headers: dict[str, str]) -> timedelta:
    clock = Clock()
    for one in headers:
        clock.observe(httpx.Headers(one))
    assert clock.now() == OURS + clock.skew
    return clock.skew


@pytest.mark.parametrize("minutes", [-60 * 24 * 400, -20, 0, 20, 60 * 23])
def test_now_is_the_server_time(minutes: int) -> None:
    assert skew_by({"date": http_date(timedelta(minutes=minutes))}) == timedelta(minutes=minutes)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"date": ""},
        {"date": "yesterday"},
        {"date": "Mon, 99 Foo 0000 99:99:99 GMT"},
        {"date": f"Mon, 04 May {'9' * 30} 12:00:00 GMT"},
        # With this date, nothing would be younger than the overlap.
        {"date": "Fri, 31 Dec 9999 23:59:59 GMT"},
        {"date": http_date(timedelta(days=2))},
    ],
    ids=str,
)
def test_without_a_credible_date_now_is_local_time(headers: dict[str, str]) -> None:
    assert skew_by(headers) == timedelta(0)


def test_a_date_without_a_zone_is_in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        assert parse_http_date("Mon, 04 May 2026 12:00:00 -0000") == OURS
        assert parse_http_date("Mon, 04 May 2026 14:00:00 +0200") == OURS
    finally:
        monkeypatch.undo()
        time.tzset()


def test_dates_are_read_every_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(server_module, "_SECONDS_APART", 10.0)
    monkeypatch.setattr(server_module, "monotonic", lambda: now)
    clock = Clock()
    for now, minutes, skew in ((100.0, -1, -1), (109.0, -2, -1), (110.0, -3, -3)):  # noqa: B007
        clock.observe(httpx.Headers({"date": http_date(timedelta(minutes=minutes))}))
        assert clock.skew == timedelta(minutes=skew)


def test_a_date_of_year_1_overflows_nowhere() -> None:
    now = OURS + skew_by({"date": "Mon, 01 Jan 0001 00:00:00 GMT"})
    assert now - timedelta(days=365 * 1900) < OURS


def test_the_age_of_a_cached_response_is_added() -> None:
    headers = {"date": http_date(timedelta(minutes=-30)), "age": "1200"}
    assert skew_by(headers) == timedelta(minutes=-10)
    assert skew_by({**headers, "age": "9" * 30}) <= timedelta(0)
    assert skew_by({**headers, "age": "soon"}) == timedelta(minutes=-30)


def test_the_slowest_clock_of_several_servers_counts() -> None:
    dates = [{"date": http_date(timedelta(minutes=minutes))} for minutes in (3, -4, 5)]
    assert skew_by(*dates) == timedelta(minutes=-4)


@pytest.mark.parametrize(("minutes", "said"), [(-20, "0:20:00 behind"), (20, "0:20:00 ahead of"), (5, None)])
def test_a_skew_larger_than_the_overlap_is_logged(
    caplog: pytest.LogCaptureFixture, minutes: int, said: str | None
) -> None:
    headers = {"date": http_date(timedelta(minutes=minutes))}
    with client_of(lambda _: httpx.Response(200, json=[], headers=headers), lag="10m") as get:
        get("/v1/agents/")
        get("/v1/agents/")
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warned) == bool(said)
    assert not said or f"the server's clock is {said} this machine's" in warned[0]


def test_error_responses_set_the_clock_too() -> None:
    clock = Clock()
    with answering(lambda _: httpx.Response(200)):
        assert clock.observe(httpx.Headers({"date": http_date(timedelta(0))}))
        assert not clock.observe(httpx.Headers({"date": http_date(timedelta(0))}))
