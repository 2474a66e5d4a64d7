"""The facts of a report, for conversations small enough to compute by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from letta_source.report.charts import draw
from letta_source.report.facts import MOST
from letta_source.report.model import Price
from letta_source.report.period import Period
from tests.support.report_case import MARCH, NOON, Case


@pytest.fixture
def case() -> Case:
    return Case()


def _latencies(case: Case) -> list[float]:
    return sorted(row["latency"] for row in case.facts().slowest)


def test_a_turn_ends_at_the_next_user_message(case: Case) -> None:
    case.say("system", 0)
    case.say("user", 0)
    case.say("assistant", 4)
    case.say("user", 10)
    case.say("reasoning", 11)
    case.say("assistant", 12)
    assert case.facts().headline["turns"] == 2
    assert _latencies(case) == [2, 4]


def test_within_a_second_the_sequence_decides_the_order(case: Case) -> None:
    case.say("user", 0, sequence=5, id="b")
    case.say("assistant", 0, sequence=6, id="a")
    case.say("user", 0, sequence=7, id="c")
    case.say("assistant", 3, sequence=8, id="d")
    assert _latencies(case) == [0, 3]


def test_runs_separate_the_conversations_of_an_agent(case: Case) -> None:
    case.run("run-1", conversation_id="conversation-1")
    case.run("run-2", conversation_id="conversation-2")
    case.say("user", 0, "run-1")
    case.say("user", 1, "run-2")
    case.say("assistant", 5, "run-1")
    case.say("assistant", 7, "run-2")
    facts = case.facts()
    assert (facts.headline["turns"], facts.headline["conversations"]) == (2, 2)
    assert _latencies(case) == [5, 6]


def test_messages_outside_of_conversations_are_counted_separately(case: Case) -> None:
    case.run("run-1", conversation_id="conversation-1")
    case.say("user", 0, "run-1")
    case.say("user", 9)
    case.agent("agent-2")
    case.say("user", 9)
    headline = case.facts().headline
    assert (headline["conversations"], headline["outside"]) == (1, 2)


def test_agents_that_no_person_wrote_to_are_counted_separately(case: Case) -> None:
    case.say("user", 0)
    case.agent("agent-of-memory")
    case.event(1)
    case.say("assistant", 2)
    case.agent("agent-made-and-not-asked")
    case.say("system", 3)
    headline = case.facts().headline
    assert (headline["agents"], headline["other_agents"], headline["outside"]) == (1, 2, 1)


def test_feedback_is_that_of_steps_of_the_period(case: Case) -> None:
    case.run("run-1", 0)
    case.run("run-old", -40 * 86400)
    for number, (run, feedback) in enumerate(
        [("run-1", "positive"), ("run-1", "negative"), ("run-1", None), ("run-old", "negative")]
    ):
        case.step(f"step-{number}", run_id=run, feedback=feedback)
    headline = case.facts().headline
    assert (headline["positive"], headline["negative"], headline["satisfaction"]) == (1, 1, 0.5)


def test_several_messages_of_one_request_are_one_turn(case: Case) -> None:
    case.say("user", 0, "run-1")
    case.say("user", 0, "run-1")
    case.say("assistant", 2, "run-1")
    case.say("user", 5, "run-2")
    case.say("user", 6, "run-3")
    case.say("assistant", 8, "run-3")
    # The message of run 2 was never answered.
    assert case.facts().headline["turns"] == 3
    assert case.facts().gaps["unanswered"] == 1


def test_several_messages_without_a_run_are_one_turn(case: Case) -> None:
    """Messages without a run cannot be told apart; one with a run belongs to another request."""
    case.say("user", 0)
    case.say("user", 1)
    case.say("assistant", 4)
    assert case.facts().headline["turns"] == 1
    assert _latencies(case) == [4]
    for at, first, second in ((100, "run-1", None), (200, None, "run-2")):
        case.say("user", at, first)
        case.say("user", at + 1, second)
        case.say("assistant", at + 2, second)
    assert case.facts().headline["turns"] == 5


def test_server_events_with_the_user_role_start_no_turn(case: Case) -> None:
    case.event(0)
    case.say("user", 1)
    case.call(2, "roll", "c")
    case.event(3)
    case.say("assistant", 9)
    assert case.facts().headline["turns"] == 1
    assert _latencies(case) == [8]


def test_latency_uses_the_exact_durations_of_runs(case: Case) -> None:
    case.run("run-1", 0, 2.25)
    case.run("run-2", 60, 100, total_duration_ns=1_500_000_000)
    case.say("user", 0, "run-1")
    case.say("approval_request", 2, "run-1")
    # A person took a minute to decide, which is not the agent's time.
    case.say("approval_response", 60, "run-2")
    case.say("assistant", 61, "run-2")
    assert _latencies(case) == [3.75]


def test_an_unfinished_run_makes_latency_use_message_dates(case: Case) -> None:
    case.run("run-1", 0, 2)
    case.run("run-2", 3)
    case.say("user", 0, "run-1")
    case.say("approval_request", 2, "run-1")
    case.say("approval_response", 3, "run-2")
    case.say("assistant", 7, "run-2")
    assert _latencies(case) == [7]


def test_the_median_and_the_95th_percentile_are_interpolated(case: Case) -> None:
    for number in range(21):
        case.say("user", number * 100)
        case.say("assistant", number * 100 + number)
    headline = case.facts().headline
    assert (headline["median_latency"], headline["p95_latency"]) == (10, 19)


def test_outcomes_of_tool_calls(case: Case) -> None:
    case.call(0, "roll", "good", "bad", "lost")
    case.answer(3, "success", "good")
    case.answer(5, "error", "bad")
    (roll,) = case.facts().tools
    assert (roll["calls"], roll["errors"], roll["never_returned"], roll["error_rate"]) == (3, 1, 1, 0.5)
    assert (roll["median_seconds"], roll["seconds"]) == (4, 8)


def test_a_call_that_needs_approval_counts_once(case: Case) -> None:
    case.call(0, "pay", "c", kind="approval_request")
    case.decide(10, {"tool_call_id": "c", "type": "approval", "approve": True})
    case.call(10, "pay", "c")
    case.answer(12, "success", "c")
    (pay,) = case.facts().tools
    assert (pay["calls"], pay["never_returned"], pay["denied"], pay["seconds"]) == (1, 0, 0, 12)


def test_a_denied_call_never_returned(case: Case) -> None:
    case.call(0, "pay", "c", kind="approval_request")
    case.decide(10, {"tool_call_id": "c", "type": "approval", "approve": False})
    case.call(20, "pay", "c", kind="approval_request")
    (pay,) = case.facts().tools
    assert (pay["calls"], pay["never_returned"], pay["denied"]) == (2, 2, 1)


def test_an_older_client_answers_with_the_id_of_the_message_that_asked(case: Case) -> None:
    case.call(0, "pay", "c", kind="approval_request", id="message-asks")
    case.decide(10, {"tool_call_id": "message-asks", "type": "approval", "approve": False})
    assert case.facts().tools[0]["denied"] == 1


def test_a_tool_that_the_caller_ran_returns_as_an_approval(case: Case) -> None:
    case.call(0, "local", "c", kind="approval_request")
    case.decide(4, {"tool_call_id": "c", "type": "tool", "status": "error"})
    # The server repeats the result as a tool return.
    case.answer(4, "error", "c")
    case.call(100, "local", "c")
    case.answer(107, "success", "c")
    (local,) = case.facts().tools
    assert (local["calls"], local["errors"], local["seconds"]) == (2, 1, 11)


def test_a_return_without_a_status_is_not_an_error(case: Case) -> None:
    case.call(0, "local", "c", kind="approval_request")
    case.decide(4, {"tool_call_id": "c", "type": "tool"})
    case.answer(4, "error", "c")
    (local,) = case.facts().tools
    assert (local["calls"], local["errors"], local["never_returned"], local["error_rate"]) == (1, 0, 0, 0)


def test_calls_without_an_id_are_separate_calls(case: Case) -> None:
    """A return without an id does not tell which of them it belongs to."""
    case.call(0, "roll", None, None)
    case.call(1, "roll", None)
    case.answer(2, "error", None)
    case.call(3, "roll", "c")
    case.answer(4, "success", "c")
    (roll,) = case.facts().tools
    assert (roll["calls"], roll["errors"], roll["never_returned"]) == (4, 0, 3)


def test_a_return_dated_before_its_call_is_paired_with_it(case: Case) -> None:
    """Messages can be stored with an older date."""
    case.answer(0, "error", "c")
    case.call(1, "roll", "c")
    case.call(5, "roll", "c")
    (roll,) = case.facts().tools
    assert (roll["calls"], roll["errors"], roll["never_returned"]) == (2, 1, 1)


def test_a_decision_without_a_value_ends_no_call(case: Case) -> None:
    case.call(0, "pay", "c", kind="approval_request")
    case.decide(10, {"tool_call_id": "c", "type": "approval", "approve": None})
    case.call(10, "pay", "c")
    case.answer(12, "success", "c")
    (pay,) = case.facts().tools
    assert (pay["calls"], pay["denied"], pay["never_returned"], pay["seconds"]) == (1, 0, 0, 12)


def test_a_model_may_reuse_an_id(case: Case) -> None:
    for at in (0, 100):
        case.call(at, "roll", "same")
        case.answer(at + 2, "success", "same")
    case.agent("agent-2")
    case.call(0, "roll", "same")
    (roll,) = case.facts().tools
    assert (roll["calls"], roll["never_returned"], roll["seconds"]) == (3, 1, 4)


PRICES = [Price("openai/gpt", 2.0, 0.5, 4.0, 8.0), Price("gpt", 100.0, None, None, 100.0)]
_M = 1_000_000


@pytest.mark.parametrize(
    ("step", "cost"),
    [
        ({"prompt_tokens": _M, "completion_tokens": _M}, 10.0),
        ({"prompt_tokens": _M, "cached_input_tokens": _M // 2}, 1.25),
        ({"prompt_tokens": _M, "cached_input_tokens": _M // 4, "cache_write_tokens": _M // 4}, 2.125),
        # Unknown counts cost nothing.
        ({"completion_tokens": _M}, 8.0),
        ({"prompt_tokens": _M, "completion_tokens": None}, 2.0),
        # Some providers do not count cached tokens as part of the prompt.
        ({"prompt_tokens": 10, "cached_input_tokens": _M}, 0.5),
        # Reasoning tokens are part of the completion.
        ({"prompt_tokens": 0, "completion_tokens": _M, "reasoning_tokens": _M // 2}, 8.0),
        ({"model_handle": None, "prompt_tokens": _M, "cached_input_tokens": _M // 2}, 100.0),
    ],
)
def test_the_cost_of_a_step(case: Case, step: dict[str, int], cost: float) -> None:
    case.say("assistant", 0, step="step-1")
    case.step("step-1", **{"model": "gpt", "model_handle": "openai/gpt", **step})
    assert case.facts(prices=PRICES).headline["cost"] == pytest.approx(cost)


def test_models_are_named_by_their_handle_if_they_have_one(case: Case) -> None:
    case.say("assistant", 0, step="step-1")
    case.say("assistant", 0, step="step-2")
    case.step("step-1", model="gpt", model_handle="openai/gpt", total_tokens=1)
    case.step("step-2", model="gpt", model_handle=None, total_tokens=2)
    assert {row["name"] for row in case.facts(prices=PRICES).models} == {"openai/gpt", "gpt"}


def test_a_model_without_a_price_is_named(case: Case) -> None:
    case.say("assistant", 0, step="step-1")
    case.say("assistant", 0, step="step-2")
    case.step("step-1", model="gpt", prompt_tokens=_M, total_tokens=_M)
    case.step("step-2", model="new", prompt_tokens=_M, total_tokens=_M)
    facts = case.facts(prices=PRICES)
    assert facts.gaps["unpriced"] == ["new"]
    assert facts.headline["unpriced"] == 1
    assert facts.headline["cost"] == 100
    assert facts.headline["tokens"] == 2 * _M
    assert [(row["name"], row["cost"]) for row in facts.models] == [("gpt", 100), ("new", None)]


def test_a_step_is_dated_by_its_message_or_its_run(case: Case) -> None:
    april = 30 * 24 * 3600
    case.run("run-1", april)
    case.step("step-1", run_id="run-1", total_tokens=1)
    case.step("step-2", run_id="run-1", total_tokens=10)
    case.say("assistant", 0, "run-1", "step-2")
    case.step("step-3", run_id="run-unknown", total_tokens=100)
    facts = case.facts()
    assert facts.headline["tokens"] == 10
    assert facts.gaps["undated_steps"] == 1


def test_days_begin_at_midnight_utc(case: Case) -> None:
    for at in (-43201, -43200, 43199, 43200):
        case.say("user", at, f"run-{at}")
    days = {
        row["day"].day: (row["messages"], row["turns"]) for row in case.facts().activity if row["messages"]
    }
    assert days == {1: (1, 1), 2: (2, 2), 3: (1, 1)}


def test_days_without_activity_are_included(case: Case) -> None:
    case.say("user", 0)
    days = case.facts().activity
    assert [row["day"].day for row in days] == list(range(1, 31))
    assert [row["messages"] for row in days[:3]] == [0, 1, 0]


def test_a_long_period_is_divided_into_weeks(case: Case) -> None:
    case.say("user", 0)
    year = Period(datetime(2026, 1, 1, tzinfo=timezone.utc), datetime(2027, 1, 1, tzinfo=timezone.utc))
    weeks = case.facts(year).activity
    assert len(weeks) == 53
    assert {row["day"].weekday() for row in weeks} == {0}
    assert [row["day"] for row in weeks if row["messages"]] == [datetime(2026, 3, 2)]


def test_a_turn_belongs_to_the_period_in_which_it_began(case: Case) -> None:
    end = 29 * 24 * 3600 - 43200
    case.say("user", end - 5)
    case.say("assistant", end + 5)
    facts = case.facts()
    assert (facts.headline["turns"], facts.headline["messages"]) == (1, 1)
    assert facts.headline["median_latency"] == 10


def test_the_previous_period_is_compared_if_it_was_loaded_completely(case: Case) -> None:
    case.say("user", -30 * 24 * 3600)
    case.say("user", 0)
    case.say("assistant", 0)
    before = case.facts().before
    assert before is not None
    assert before["messages"] == 1
    assert case.facts(oldest=MARCH.before.start.replace(tzinfo=None) + timedelta(days=2)).before is None
    later = Period(MARCH.start + timedelta(days=60), MARCH.end + timedelta(days=60))
    assert case.facts(later).before is None


def test_tools_and_agents_beyond_the_limit_are_summed_up(case: Case) -> None:
    for number in range(MOST + 3):
        case.agent(f"agent-{number:02}", f"name {number:02}")
        for call in range(MOST + 3 - number):
            case.call(number, f"tool {number:02}", f"c{call}")
    facts = case.facts()
    for rows, what in ((facts.tools, "calls"), (facts.agents, "messages")):
        assert [row["name"] is None for row in rows] == [False] * MOST + [True]
        assert rows[-1]["names"] == 3
        assert rows[-1][what] == 3 + 2 + 1


def test_agents_with_the_same_name_are_separate(case: Case) -> None:
    for number in (1, 2):
        case.agent(f"agent-{number}", "same")
        case.say("user", 0)
    case.agent("agent-deleted")
    case.say("user", 0)
    assert [row["name"] for row in case.facts().agents] == ["same", "same", "agent-deleted"]


def test_a_report_of_some_agents_excludes_others(case: Case) -> None:
    def live(agent: str, at: float) -> None:
        """The same life each, but for names."""
        case.agent(agent, f"name of {agent}")
        case.run(f"run-{agent}", at, 9, status="failed", conversation_id=f"conversation-{agent}")
        case.say("user", at, f"run-{agent}")
        case.call(at + 1, "roll", "c", run=f"run-{agent}", step=f"step-{agent}")
        case.answer(at + 3, "error", "c", run=f"run-{agent}")
        case.step(f"step-{agent}", run_id=f"run-{agent}", model="gpt", total_tokens=10, error_type="Timeout")

    live("agent-1", 0)
    alone = case.facts()
    live("agent-2", 100)
    # Of no agent.
    case.rows["steps"].append({"id": "step-lost", "model": "gpt", "total_tokens": 1000})
    assert case.facts(agents=["agent-1"]) == replace(alone, gaps={**alone.gaps, "steps": 3})
    assert case.facts(agents=["agent-1", "agent-2"]).headline["agents"] == 2
    assert case.facts(agents=["agent-0"]).headline["messages"] == 0


def test_failed_runs_and_steps_by_type(case: Case) -> None:
    for number in (1, 2):
        case.run(f"run-{number}", number, status="failed", stop_reason="llm_api_error")
    case.run("run-3", 3, status="completed", stop_reason="end_turn")
    case.step("step-1", run_id="run-2", status="failed", error_type="Timeout")
    errors = [(row["kind"], row["type"], row["errors"], row["last_id"]) for row in case.facts().errors]
    assert errors == [("run", "llm_api_error", 2, "run-2"), ("step", "Timeout", 1, "step-1")]


def test_the_slowest_turn_is_broken_down(case: Case) -> None:
    case.agent("agent-1", "slow")
    case.run("run-1", 0, 30)
    case.say("user", 0, "run-1")
    case.call(1, "search", "a", run="run-1", step="step-1")
    case.answer(21, "error", "a", run="run-1", step="step-1")
    case.say("assistant", 30, "run-1", "step-2")
    case.step("step-1", run_id="run-1", total_tokens=5)
    case.step("step-2", run_id="run-1", total_tokens=7)
    # A step without results: no message names it.
    case.step("step-3", run_id="run-1", total_tokens=3)
    (turn,) = case.facts().slowest
    spent = [turn[key] for key in ("latency", "tool_seconds", "rest", "calls", "errors", "steps", "tokens")]
    assert spent == [30, 20, 10, 1, 1, 3, 15]
    assert (turn["name"], turn["most_called"], turn["run_id"]) == ("slow", "search", "run-1")
    assert turn["started_at"] == NOON


def test_waiting_for_approval_is_not_tool_time(case: Case) -> None:
    case.say("user", 0)
    case.call(1, "pay", "c", kind="approval_request")
    case.decide(50, {"tool_call_id": "c", "type": "approval", "approve": True})
    case.answer(53, "success", "c")
    facts = case.facts()
    assert (facts.slowest[0]["tool_seconds"], facts.tools[0]["seconds"]) == (3, 52)


def test_an_empty_dataset(case: Case) -> None:
    facts = case.facts()
    assert facts.headline["messages"] == 0
    assert facts.headline["cost"] is None
    assert facts.before is None
    assert not any((facts.tools, facts.agents, facts.models, facts.slowest, facts.errors, facts.issues))


YEARS = [
    (1, 9999, "century"),
    (1, 2, "week"),
    (9000, 9999, "century"),
    (1900, 2026, "year"),
    (1990, 2026, "month"),
]


@pytest.mark.parametrize(("first", "last", "step"), YEARS, ids=str)
def test_a_period_of_centuries_has_a_few_hundred_bars(case: Case, first: int, last: int, step: str) -> None:
    """The years 1 and 9999 are used for "all", and occur in data if a clock was wrong."""
    period = Period(datetime(first, 1, 1, tzinfo=timezone.utc), datetime(last, 12, 31, tzinfo=timezone.utc))
    for year in (first, last):
        case.say("user", 0, created_at=datetime(year, 1, 2))
        case.say("assistant", 0, created_at=datetime(year, 1, 3))
    facts = case.facts(period, oldest=datetime(1, 1, 1))
    assert (period.step, facts.headline["messages"]) == (step, 4)
    assert len(facts.activity) < 600
    assert sum(row["messages"] for row in facts.activity) == 4
    assert draw(facts)
