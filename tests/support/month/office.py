"""Conversations of an office: meetings, figures, contracts, travel; and of a newsroom with a supervisor."""

from __future__ import annotations

import json
from random import Random

from .script import Exchange, Round, Talk, asking, failing, use, verdict

TOPICS = ("the new cargo line", "winter service", "the Lyon store", "e-motor recalls", "the customer survey")
COLLEAGUES = ("Aïcha", "Björn", "Carlos", "Dana", "Emeka", "Françoise", "Grzegorz", "はるか")


def meeting(random: Random) -> Talk:
    """Find a date, book it, remember what was decided."""
    who, topic = random.sample(COLLEAGUES, 2), random.choice(TOPICS)
    day, hour = random.choice(("Tuesday", "Wednesday", "Thursday")), random.randrange(9, 16)
    free = use(
        "list_calendar", json.dumps({name: f"{day} {hour}:00" for name in who}, ensure_ascii=False), who=who
    )
    booked = use("book_meeting", f"booked {day} {hour}:00", topic=topic, who=who)
    kept = use("archival_memory_insert", "None", content=f"{' and '.join(who)} meet on {topic}, {day}.")
    return [
        Exchange(
            f"Find half an hour with {who[0]} and {who[1]} about {topic}.",
            f"{day} at {hour}:00 suits both; it is booked.",
            (
                Round("Calendars first.", (free,)),
                Round("Both are free: book it.", (booked,)),
                Round("Worth remembering.", (kept,)),
            ),
            feedback=verdict(random),
        )
    ]


def notes(random: Random) -> Talk:
    """Turn a long text into a list."""
    topic, who = random.choice(TOPICS), random.sample(COLLEAGUES, 3)
    openings = ("I think", "Honestly,", "As for me,")
    opinions = ("should wait for spring", "is late already", "needs one more supplier", "sells well")
    spoken = " ".join(
        f"{name}: {random.choice(openings)} {topic} {random.choice(opinions)}." for name in who * 6
    )
    found = use("archival_memory_search", "[]", query=topic)
    return [
        Exchange(
            f"Summarize, please:\n\n{spoken}",
            f"**{topic}**\n\n1. {who[0]} waits.\n2. {who[1]} asks for a supplier.\n3. Decide on Friday.",
            (Round("Did we talk about this before?", (found,)),),
            thought="Who said what, then what was decided.",
        )
    ]


def contract(random: Random) -> Talk:
    """Compare a picture of a contract with earlier messages."""
    clause = random.choice(("liability", "notice period", "payment terms", "jurisdiction"))
    days = random.choice((14, 30, 60, 90))
    searched = (
        failing("conversation_search", "ValueError", "query must not be empty", query="")
        if random.random() < 0.2
        else use("conversation_search", f"We agreed on {days} days at most.", query=clause)
    )
    return [
        Exchange(
            f"Is the {clause} in this page what we agreed on?",
            f"No: the page says {days + 30} days, we agreed on {days} at most.",
            (Round("What had we agreed on?", (searched,)),),
            thought="Compare with the last contract.",
            image=f"a page of a contract: {clause}",
            feedback=verdict(random),
        )
    ]


def travel(random: Random) -> Talk:
    """Find a train and book it; bookings wait for approval."""
    start, end = random.sample(("Leipzig", "Lyon", "Göteborg", "Kraków", "Zürich"), 2)
    trains = use(
        "search_trains",
        f"07:{random.randrange(10, 59)} direct, {random.randrange(49, 320)} €",
        start=start,
        end=end,
    )
    book = asking(
        random, "book_ticket", f"ticket {random.randrange(10**6):06d}", "Too expensive", start=start, end=end
    )
    answer = f"Booked: {book.result}." if book.decision == "granted" else f"Not booked: {book.reason}."
    return [
        Exchange(
            f"Train from {start} to {end} next Monday morning?",
            f"There is one at {trains.result}. Shall I book it?",
            (Round("Direct ones first.", (trains,)),),
        ),
        Exchange("Yes.", answer, (Round("Tickets cost money: ask.", (book,)),), feedback=verdict(random)),
    ]


def figures(random: Random) -> Talk:
    """Report figures from the warehouse; now and then the provider's rate limit is reached."""
    topic, week = random.choice(TOPICS), random.randrange(42, 47)
    sql = f"SELECT week, sum(revenue) FROM sales WHERE topic = '{topic}' GROUP BY week"
    run = use("run_code", json.dumps({str(week): random.randrange(10_000, 90_000)}), code=f"db.sql({sql!r})")
    limit = (
        ("LLMRateLimitError", "Rate limit reached: 200,000 tokens a minute")
        if random.random() < 0.15
        else None
    )
    return [
        Exchange(
            f"Revenue of {topic} in week {week}?",
            f"{json.loads(run.result)[str(week)]:,} €, {random.randrange(2, 19)} % more than before.",
            (Round("One query is enough.", (run,)),),
            thought="Weeks are ISO weeks here.",
            error=limit,
            feedback=verdict(random),
        )
    ]


def assignment(random: Random) -> tuple[str, str, str, str]:
    """Return an assignment for a newsroom: the request, its brief, the parts that return, the answer."""
    topic, words = random.choice(TOPICS), random.choice((120, 200, 350))
    return (
        f"We need {words} words on {topic} for the newsletter, in English and French.",
        f"Brief: {words} words on {topic}. Three facts with sources, a draft, a check.",
        json.dumps(
            [
                {"agent": "newsroom-researcher", "said": f"Three facts on {topic}, each with a source."},
                {
                    "agent": "newsroom-writer",
                    "said": f"Draft of {words} words: “{topic.capitalize()} — why now?”",
                },
                {"agent": "newsroom-checker", "said": "Two facts hold; the third is from 2019, drop it."},
                {"agent": "newsroom-translator", "said": f"« {topic.capitalize()} : pourquoi maintenant ? »"},
            ],
            ensure_ascii=False,
        ),
        f"The piece on {topic} is ready: {words} words, two facts checked. La version française aussi.",
    )
