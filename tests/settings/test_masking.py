"""Masks of all places add up, only `keep` removes one, and packages of other masks are not loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest
from pydantic import SecretStr

import letta_source
from letta_source.demo import Letta, Server
from letta_source.errors import ConfigError, FatalError
from letta_source.rows.flatten import Rows
from letta_source.rows.mask import Mask
from letta_source.schema.resources import RESOURCES
from letta_source.settings.given import Given
from letta_source.settings.masking import MaskAction, Masking, logged_masking, masking_digest, merged
from letta_source.settings.places import Layer
from letta_source.state.session import Session
from tests.support.command import Command
from tests.support.configuration import configure, forget

HERE = "http://localhost:8283"
MASK_KEY = "long-enough-to-be-a-key"


def told(*places: dict[str, Any]) -> dict[str, str]:
    """Return the masking of each column of agents' messages and of agents; the most specific place first."""
    layers = [
        Layer(Given.of(place), {"mask": f"place {at}", "images": f"place {at}"})
        for at, place in enumerate(places, start=1)
    ]
    masking = merged(layers)
    session = Session()
    letta_source.letta(base_url=HERE, mask_key=MASK_KEY, session=session)
    settings = session.settings.model_copy().found({}, masking)
    found = {}
    for resource in ("agents", "agent_messages"):
        for table, columns in Mask(RESOURCES[resource], settings)._by_table.items():
            found.update({f"{table}.{column.name}": how.__name__ for column, how in columns})
    return found


def test_masks_add_up() -> None:
    found = told(
        {"mask": "agent_messages.text=drop"}, {"mask": "agents.system=redact"}, {"mask": "agents.name=drop"}
    )
    assert found["agent_messages.text"] == "_drop"
    assert found["agents.system"] == "_redact"
    assert found["agents.name"] == "_drop"


def test_equal_masks_of_two_places_agree() -> None:
    assert (
        told({"mask": "text=drop"}, {"mask": "text=drop,agents.system=keep"})["agent_messages.text"]
        == "_drop"
    )


@pytest.mark.parametrize(
    ("places", "is_masked"),
    [
        (({"mask": "text=keep"}, {"mask": "text=redact"}), False),
        (({"mask": "text=keep"}, {"mask": "content=redact"}), False),
        (({"mask": "agent_messages.text=keep"}, {"mask": "text=redact"}), False),
        (({"mask": "content=keep"}, {"mask": "text=redact"}), False),
        (({"mask": "agents.system=keep"}, {"mask": "text=redact"}), True),
        # A less specific place removes no mask.
        (({"mask": "text=redact"}, {"mask": "text=keep"}), True),
        (({"mask": "content=redact"}, {"mask": "text=keep"}), True),
        (({"mask": "content=redact"}, {"mask": "agent_messages.text=keep"}), True),
        (({}, {"mask": "text=keep"}, {"mask": "content=redact"}), False),
        (({"mask": "text=redact"}, {"mask": "text=keep"}, {"mask": "text=redact"}), True),
        # Within a place, the more specific name wins.
        (({"mask": "content=redact,text=keep"},), False),
    ],
)
def test_only_keep_removes_a_mask(places: tuple[dict[str, Any], ...], is_masked: bool) -> None:
    assert ("agent_messages.text" in told(*places)) == is_masked


@pytest.mark.parametrize(
    ("places", "why"),
    [
        (({"mask": "text=hash"}, {"mask": "text=redact"}), "is redact in place 2 but hash in place 1"),
        (({"mask": "text=drop"}, {"mask": "content=redact"}), "agent_messages.text is redact in place 2"),
        (({"mask": "content=redact"}, {"mask": "agents.system=drop"}), "agents.system is drop in place 2"),
        (({"mask": {"text": str.upper}}, {"mask": "text=drop"}), "but a function in place 1"),
        (({}, {"images": "hash"}, {"images": "drop"}), "images is drop in place 3 but hash in place 2"),
        (
            ({"mask": "text"}, {}),
            r"mask: text: '' is not drop, .+ as in text=redact \(place 1\)",
        ),
    ],
)
def test_places_that_disagree_are_refused(places: tuple[dict[str, Any], ...], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        told(*places)


@pytest.mark.parametrize(
    "mask",
    [
        "text=hash,text=redact",
        "text=hash, text = keep",
        '{"text": "hash", "text": "keep"}',
        {"agents": {"system": "drop"}, "agents.system": "keep"},
    ],
)
def test_a_mask_that_disagrees_with_itself_is_refused(mask: Any) -> None:
    with pytest.raises(ConfigError, match=r"mask: (text|agents\.system) is given twice"):
        told({"mask": mask})


@pytest.mark.parametrize(
    ("mask", "why"),
    [
        (" , ", "mask: must not be empty"),
        (",\n", "mask: must not be empty"),
        ({"agents": {}}, "mask: agents has no columns"),
        ('{"agents": {"system": {}}}', "mask: agents.system has no columns"),
    ],
)
def test_a_mask_that_would_mask_nothing_is_refused(mask: Any, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        told({"mask": mask})


def test_the_same_mask_twice_is_one() -> None:
    assert told({"mask": "text=hash,text=hash"})["agent_messages.text"] == "_hash"


def test_images_add_up() -> None:
    for places, images in (
        (({"images": "drop"}, {}), "drop"),
        (({}, {"images": "drop"}), "drop"),
        (({"images": "drop"}, {"images": "keep"}), "drop"),
        (({"images": "keep"}, {"images": "drop"}), "keep"),
    ):
        assert merged([Layer(Given.of(place), {}) for place in places]).images == images


def test_masks_of_files_variables_and_arguments(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    configure(tmp_path, "[sources.letta.mask]\ncontent = 'redact'\nagents.name = 'drop'\n")
    try:
        monkeypatch.setenv("SOURCES__LETTA__MASK", "groups.description=drop")
        session = Session()
        with pytest.raises(ConfigError, match=r"groups.description is redact in sources.letta.mask in conf"):
            letta_source.letta(base_url=HERE)
        monkeypatch.setenv("SOURCES__LETTA__MASK", "agents.name=drop")
        letta_source.letta(base_url=HERE, mask={"text": "keep"}, session=session)
        assert str(session.settings.masking) == (
            "text=keep (as given), agents.name=drop (SOURCES__LETTA__MASK), "
            "content=redact (sources.letta.mask in config.toml), "
            "agents.name=drop (sources.letta.mask in config.toml)"
        )
        assert session.settings.mask == {"text": "keep", "agents.name": "drop", "content": "redact"}
    finally:
        forget()


@pytest.mark.parametrize(
    "masking",
    [
        Masking(),
        Masking([("as given", {"text": "drop", "agents.name": "hash"})]),
        Masking([("a (copy).toml", {"text": "keep"}), ("as given", {"content": "redact"})], "hash", "here"),
    ],
)
def test_logged_masks_are_the_same_again(masking: Masking) -> None:
    assert masking_digest(logged_masking(str(masking)), None) == masking_digest(masking, None)


def test_digests_distinguish_masks() -> None:
    def digest(*places: dict[str, Any]) -> str:
        return masking_digest(merged([Layer(Given.of(place), {}) for place in places]), None)

    same = digest({"mask": "text=drop,name=keep"})
    assert digest({}, {"mask": {"name": "keep", "text": "drop"}}) == same
    others = [
        digest({}),
        digest({"mask": "text=redact,name=keep"}),
        digest({"mask": "text=drop"}),
        digest({"mask": "text=drop,name=keep", "images": "drop"}),
        digest({"mask": "text=keep"}, {"mask": "text=drop"}),
        digest({"mask": "text=drop"}, {"mask": "text=keep"}),
    ]
    assert len({same, *others}) == 1 + len(others)
    assert digest({"images": "keep"}) == digest({})
    assert digest({"mask": {"text": str.upper}}) != digest({"mask": {"text": str.upper}})


@pytest.fixture
def command(letta_source: Command) -> Command:
    return letta_source


@pytest.mark.parametrize(
    ("mask", "images", "is_keyed"),
    [
        ({}, None, False),
        ({"content": "redact", "agents.name": "drop"}, "drop", False),
        ({"content": "redact", "agents.name": "hash"}, None, True),
        ({}, "hash", True),
    ],
)
def test_the_key_matters_only_if_something_is_hashed(
    mask: dict[str, MaskAction], images: str | None, is_keyed: bool
) -> None:
    # Packages of a version that recorded no masks are loaded if nothing is masked, with or without a key.
    digests = {
        masking_digest(Masking([("here", mask)], images), SecretStr(key) if key else None)
        for key in (None, MASK_KEY, f"another {MASK_KEY}")
    }
    assert len(digests) == (3 if is_keyed else 1)


MASKED = ("--mask", "content=redact")


EXTRACTED, NORMALIZED = "dlt.normalize.normalize.Normalize.run", "dlt.load.load.Load.run"


@pytest.mark.whole
@pytest.mark.parametrize(
    ("before", "after", "is_read_again", "step"),
    [
        ((), MASKED, True, NORMALIZED),
        ((), MASKED, True, EXTRACTED),
        (MASKED, (), True, NORMALIZED),
        (MASKED, ("--mask", "agent_messages.text=redact"), True, EXTRACTED),
        (MASKED, MASKED, False, NORMALIZED),
    ],
)
def test_a_package_of_other_masks_is_not_loaded(
    command: Command,
    server: Server,
    letta: Letta,
    before: tuple[str, ...],
    after: tuple[str, ...],
    is_read_again: bool,
    step: str,
) -> None:
    run = ("run", "--base-url", server.base_url, "--resources", "agent_messages")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step, crash)
        assert command(*run, *before).code == 1
    said = command(*run, *after)
    assert said.code == 0, said.err
    assert ("it had other masks" in said.err) == is_read_again
    with duckdb.connect("letta_db.duckdb", read_only=True) as connection:
        texts = {row[0] for row in connection.sql("SELECT text FROM letta.agent_messages").fetchall()}
        count = connection.sql("SELECT count(*) FROM letta.agent_messages").fetchall()[0][0]
    assert (texts - {None} == {"[redacted]"}) == bool(after)
    assert count == sum(len(message.items) for message in letta.messages.rows.values())


def crash(*_: Any, **__: Any) -> None:
    raise RuntimeError("crashed")


NEW = {"mood": "secret-canary", "\x1b[2Jodd": 1}


@pytest.mark.whole
@pytest.mark.parametrize("contract", ["freeze", "discard_value", "evolve", '{"columns": "freeze"}'])
def test_new_fields(
    command: Command, server: Server, letta: Letta, monkeypatch: pytest.MonkeyPatch, contract: str
) -> None:
    agent = letta.tables["agents"].ids()[0]
    letta.replace_row("agents", agent, **NEW)
    monkeypatch.setenv("SOURCES__LETTA__SCHEMA_CONTRACT", contract)
    said = command("run", "--base-url", server.base_url, "--resources", "agents")
    if "freeze" in contract:
        assert said.code == 1
        assert r"agents: fields without a column: \x1b[2Jodd, mood. schema_contract is freeze" in said.err
        assert "secret-canary" not in said.err
        # Once new fields are allowed, nothing is missing.
        monkeypatch.setenv("SOURCES__LETTA__SCHEMA_CONTRACT", "evolve")
        assert command("run", "--base-url", server.base_url, "--resources", "agents").code == 0
    with duckdb.connect("letta_db.duckdb", read_only=True) as connection:
        rows = connection.sql(
            "SELECT id = $agent, extra FROM letta.agents", params={"agent": agent}
        ).fetchall()
    assert len(rows) == len(letta.tables["agents"].ids())
    assert [bool(extra) for _, extra in sorted(rows)] == [False, contract != "discard_value"]


def test_new_fields_of_children_and_of_messages(letta: Letta) -> None:
    def frozen(item: dict[str, Any]) -> None:
        session = Session()
        letta_source.letta(base_url=HERE, schema_contract="freeze", session=session)
        mask = Mask(RESOURCES["agent_messages"], session.settings)
        rows = Rows(RESOURCES["agent_messages"], tombstones=True)
        rows.add([{"id": "message-1", "message_type": "user_message", **item}], "agent-1")
        for name, table in rows.tables("load-1"):
            mask.table(name, table)

    frozen({"content": [{"type": "text", "text": "hi"}]})
    with pytest.raises(FatalError, match="agent_messages: fields without a column: mood"):
        frozen({"content": "hi", "mood": "fine"})
    with pytest.raises(FatalError, match="agent_messages__content: fields without a column: tone"):
        frozen({"content": [{"type": "text", "text": "hi", "tone": "warm"}]})
