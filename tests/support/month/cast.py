"""The agents of the month: the purpose and the model of each."""

from __future__ import annotations

from dataclasses import dataclass

from . import coding, office, support
from .script import Writer


@dataclass(frozen=True)
class Model:
    """A model; `thinks` if it shows its reasoning, `writes_cache` if its provider counts cache writes."""

    provider: str
    name: str
    endpoint: str
    context: int
    thinks: bool = False
    writes_cache: bool = False

    @property
    def handle(self) -> str:
        """Provider and name."""
        return f"{self.provider}/{self.name}"


GPT = Model("openai", "gpt-4.1-mini", "https://api.openai.com/v1", 128_000)
GPT_5 = Model("openai", "gpt-5-mini", "https://api.openai.com/v1", 272_000, thinks=True)
CLAUDE = Model(
    "anthropic", "claude-sonnet-4-5", "https://api.anthropic.com/v1", 200_000, thinks=True, writes_cache=True
)
# No price list has it: it runs on the company's own machine.
QWEN = Model("ollama", "qwen3-32b", "http://ollama.internal:11434/v1", 32_000)


@dataclass(frozen=True)
class Role:
    """An agent; `share` is how often people talk to it, compared with the others."""

    name: str
    purpose: str
    model: Model
    writers: tuple[Writer, ...] = ()
    share: float = 1.0
    memgpt: bool = False
    tags: tuple[str, ...] = ()
    conversations: bool = False


_DESK = (support.shipping, support.refund, support.invoice, support.account)
_CODE = (coding.failing_test, coding.query, coding.review, coding.question)


def _desk(name: str, purpose: str, model: Model, share: float, *writers: Writer) -> Role:
    return Role(
        f"support-{name}", purpose, model, writers or _DESK, share, tags=("support",), conversations=True
    )


def _code(
    name: str, purpose: str, model: Model, share: float, *writers: Writer, memgpt: bool = False
) -> Role:
    return Role(name, purpose, model, writers or _CODE, share, memgpt, ("engineering",))


def _office(name: str, purpose: str, model: Model, *writers: Writer, memgpt: bool = True) -> Role:
    return Role(name, purpose, model, writers, 0.7, memgpt, ("office",))


SUPERVISOR = Role("newsroom-editor", "leads the newsroom", CLAUDE, tags=("newsroom",))
NEWSROOM = tuple(
    Role(f"newsroom-{name}", purpose, model, tags=("newsroom",))
    for name, purpose, model in (
        ("researcher", "finds facts and their sources", GPT),
        ("writer", "writes the newsletter", CLAUDE),
        ("checker", "verifies every fact", GPT_5),
        ("translator", "translates into French", QWEN),
    )
)
ROLES = (
    _desk("triage", "answers first, and sorts", GPT, 4.0),
    _desk("shipping", "knows where parcels are", GPT, 2.5, support.shipping),
    _desk("refunds", "pays back, with approval", CLAUDE, 2.5, support.refund),
    _desk("billing", "sends invoices", GPT, 1.5, support.invoice),
    _desk("accounts", "helps with logins", QWEN, 1.2, support.account),
    _desk("vip", "serves dealers", CLAUDE, 1.0),
    _desk("deutsch", "antwortet auf Deutsch", GPT, 1.5, support.german),
    _desk("日本語", "日本語で答える", GPT_5, 1.0, support.japanese),
    _desk("español", "atiende en español", GPT, 1.0, support.spanish),
    _desk("night", "answers at night", QWEN, 0.8),
    _code("code-helper", "mends failing tests", CLAUDE, 3.0, coding.failing_test, coding.question),
    _code("code-reviewer", "reviews pull requests", CLAUDE, 2.0, coding.review),
    _code("sql-helper", "asks the warehouse", GPT, 1.5, coding.query),
    _code("incident-commander", "is on call", GPT_5, 1.5, coding.incident),
    _code("frontend-helper", "knows the web shop", GPT_5, 1.0),
    _code("data-engineer", "keeps the pipelines", CLAUDE, 1.0, coding.query, coding.failing_test),
    _code("release-manager", "writes release notes", GPT, 0.6, coding.review),
    _code("python-tutor", "explains", QWEN, 0.8, coding.question),
    _office("meeting-planner", "finds dates", GPT, office.meeting),
    _office("note-taker", "summarizes meetings", GPT, office.notes),
    _office("contract-reviewer", "compares contracts", CLAUDE, office.contract),
    _office("travel-planner", "books trains", GPT, office.travel, memgpt=False),
    _office("data-analyst", "knows the figures", GPT_5, office.figures, memgpt=False),
    _office("assistant-of-the-board", "does all of it", CLAUDE, office.meeting, office.figures, office.notes),
    _office("onboarding-guide", "shows new colleagues around", GPT, office.meeting, coding.question),
)
