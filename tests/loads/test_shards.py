"""Shards load together what one load does, and any number of them continues where others ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import dlt
import dlt.load.load
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed
from hypothesis import given, settings
from hypothesis import strategies as st

from letta_source import letta as letta_of
from letta_source.demo import Letta, Server, serve
from letta_source.loading.shard_state import State, adopted_state
from letta_source.schema.resources import RESOURCES
from letta_source.shards import BUCKETS, WHOLE, Shard, bucket_of
from tests.support.command import Command, messages
from tests.support.library_loads import Merged, Warehouse, paths, quiet_agent

pytestmark = pytest.mark.whole

OLD = datetime(2024, 5, 4, 12, tzinfo=timezone.utc)
NAMES = [name for name in RESOURCES if name not in ("message_search", "messages")]


class Sharded(Merged):
    """Several pipelines with a state each, which load into one warehouse."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: dict[Shard, State] = {}

    def load_shard(self, server: Server, index: int, count: int) -> None:
        shard = Shard(index, count)
        others = {other: state for other, state in self.sources.items() if other != shard}
        state = adopted_state(shard, self.sources.get(shard, {}), others)
        self.states = {**state.get("resources", {})}
        resources = [name for name in NAMES if RESOURCES[name].divided or index == 0]
        self.load(server, *resources, shard=str(shard))
        self.sources[shard] = {**state, "resources": self.states}

    def load_all(self, server: Server, count: int, but: Sequence[int] = ()) -> None:
        for index in range(count):
            if index not in but:
                self.load_shard(server, index, count)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("4/4", "is counted from 0: the last is 3/4"),
        ("0/65", "must be one of 1 to 64 shards"),
        ("0/0", "must be one of 1 to 64 shards"),
        ("-1/4", "must be INDEX/COUNT"),
        ("3", "must be INDEX/COUNT"),
    ],
)
def test_a_wrong_shard_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Shard.parse(text)


def test_an_id_always_has_the_same_bucket() -> None:
    # Stored state is found by the bucket.
    ids = ("agent-00000000-0000-4000-8000-000000000000", "run-1", "é")
    assert [bucket_of(one) for one in ids] == [63, 35, 62]


@given(st.integers(1, BUCKETS), st.text())
def test_each_parent_belongs_to_one_shard(count: int, parent_id: str) -> None:
    owners = [index for index in range(count) if Shard(index, count).owns(parent_id)]
    assert len(owners) == 1
    assert bucket_of(parent_id) in Shard(owners[0], count).buckets


def busy(letta: Letta, agents: int, date: datetime | None = OLD) -> None:
    for hour in range(agents):
        agent = quiet_agent(letta)
        at = date + timedelta(hours=hour) if date else None
        conversation, group = letta.add_conversation(agent), letta.add_group([agent])
        letta.talk(agent, "hi", tools=["roll"], conversation_id=conversation, date=at)
        letta.add_message(agent, date=at, group_ids=[group])


@pytest.mark.parametrize("dialect", ["self-hosted", "cloud"])
@pytest.mark.parametrize("count", [2, 7])
def test_shards_together_load_what_one_load_loads(dialect: Any, count: int) -> None:
    letta, whole, sharded = Letta(seed=1), Merged(), Sharded()
    busy(letta, 6)
    with serve(letta, dialect) as server:
        whole.load(server, *NAMES)
        sharded.load_all(server, count)
    assert sharded.everything() == whole.everything()
    assert whole.rows("step_messages") != []


@pytest.mark.parametrize("dialect", ["self-hosted", "cloud"])
@pytest.mark.parametrize("counts", [(1, 4, 7), (7, 4, 1), (2, 3, 2)])
def test_changing_the_number_of_shards_rereads_nothing(dialect: Any, counts: tuple[int, ...]) -> None:
    letta, whole, sharded = Letta(seed=2), Merged(), Sharded()
    busy(letta, 6)
    with serve(letta, dialect) as server:
        whole.load(server, *NAMES)
        sharded.load_all(server, counts[0])
        paths(server)
        whole.load(server, *NAMES)
        asked = Counter(of_parents(server))
        for count in counts[1:]:
            sharded.load_all(server, count)
            assert Counter(of_parents(server)) == asked
        busy(letta, 3, OLD + timedelta(days=1))
        whole.load(server, *NAMES)
        sharded.load_all(server, counts[-1])
    assert sharded.everything() == whole.everything()


def of_parents(server: Server) -> list[tuple[str, str | None]]:
    """Return the path and the cursor of requests for lists of agents, groups, steps and batches."""
    return [asked for asked in paths(server) if asked[0].endswith(("/messages", "/steps"))]


@pytest.mark.parametrize("dialect", ["self-hosted", "cloud"])
def test_a_shard_that_lags_behind_continues_from_its_position(dialect: Any) -> None:
    letta, whole, sharded = Letta(seed=3), Merged(), Sharded()
    busy(letta, 8)
    with serve(letta, dialect) as server:
        sharded.load_all(server, 4)
        busy(letta, 8, OLD + timedelta(days=1))
        sharded.load_all(server, 4, but=[2])
        known = set(sharded.ids("step_messages", "step_id"))
        paths(server)
        sharded.load_all(server, 3)
        again = [path.split("/")[3] for path, _ in of_parents(server) if path.startswith("/v1/steps/")]
        whole.load(server, *NAMES)
    assert sharded.everything() == whole.everything()
    assert known.isdisjoint(again)
    assert again != []


@settings(max_examples=10, deadline=None)
@given(st.data())
def test_changing_and_failing_shards_lose_nothing(data: st.DataObject) -> None:
    letta, whole, sharded = Letta(seed=4), Merged(), Sharded()
    with serve(letta, data.draw(st.sampled_from(["self-hosted", "cloud"]))) as server:
        for day in range(data.draw(st.integers(1, 4))):
            busy(letta, data.draw(st.integers(0, 3)), OLD + timedelta(days=day))
            if data.draw(st.booleans()):
                busy(letta, 1, None)
            count = data.draw(st.integers(1, 5))
            missed = data.draw(st.sets(st.integers(0, count - 1)))
            sharded.load_all(server, count, but=sorted(missed))
        sharded.load_all(server, data.draw(st.integers(1, 5)))
        whole.load(server, *NAMES)
    assert sharded.everything() == whole.everything()


def test_the_last_owner_of_a_bucket_has_its_state() -> None:
    parent = next(one for one in map(str, range(1000)) if bucket_of(one) == 2)

    def state(turn: int, cursor: str) -> State:
        return {"turn": turn, "resources": {"agent_messages": {"cursors": {parent: [cursor, "message-1"]}}}}

    others = {Shard(0, 2): state(3, "2024"), Shard(2, 4): state(4, "2025")}
    adopted = adopted_state(WHOLE, state(0, "2023"), others)
    assert adopted["resources"]["agent_messages"]["cursors"] == {parent: ["2025", "message-1"]}
    assert adopted["turn"] == 5
    # A shard that has all its buckets takes no new turn, or a load without news would change the state.
    assert adopted_state(WHOLE, adopted, others) is adopted


def everyones(count: int) -> dict[Shard, State]:
    """Return states of shards that each have entries of every bucket, left over from moved buckets."""
    units = {f"unit-{number}": f"2024-05-04T12:00:{number % 60:02}+00:00" for number in range(400)}
    assert {bucket_of(one) for one in units} == {*range(BUCKETS)}
    cursors = {one: [date, "last"] for one, date in units.items()}
    gaps = {one: [["a", "c"]] for one in units}
    walked = {"cursors": cursors, "gaps": gaps}
    of_lists = {"cursors": {"": ["2024-05-05", "last"]}, "unsettled": {"": units, "agent-1": units}}
    resources = {name: walked if name.startswith(("agent", "group")) else of_lists for name in NAMES}
    return {Shard(index, count): {"turn": 1, "resources": resources} for index in range(count)}


@pytest.mark.parametrize(("count", "before"), [(1, 4), (4, 1), (3, 2), (64, 5)])
def test_a_shard_takes_over_only_the_state_of_its_buckets(count: int, before: int) -> None:
    """Else each shard's state would grow by all others' whenever the number of shards changes."""
    for index in {0, count // 2, count - 1}:
        shard = Shard(index, count)
        resources = adopted_state(shard, {}, everyones(before))["resources"]
        owned = {f"unit-{number}" for number in range(400) if shard.owns(f"unit-{number}")}
        for name in ("agent_messages", "group_messages"):
            assert set(resources[name]["cursors"]) == set(resources[name]["gaps"]) == owned
        for name in ("step_messages", "batch_messages"):
            unsettled = resources[name]["unsettled"]
            assert {key: set(units) for key, units in unsettled.items()} == {"": owned, "agent-1": owned}
        # Resources that are not divided belong to shard 0 alone.
        assert ("runs" in resources) == (index == 0)
        if index == 0:
            assert resources["runs"] == everyones(before)[Shard(0, before)]["resources"]["runs"]


def test_shards_of_a_users_own_pipeline_must_not_share_their_staging(tmp_path: Path) -> None:
    letta = Letta(seed=5)
    busy(letta, 4)
    warehouse = Warehouse(tmp_path)
    with serve(letta) as server:
        with pytest.raises(PipelineStepFailed, match="staging_dataset_name_layout"):
            warehouse.load(server, "agent_messages", shard="0/2")
        for index in range(2):
            own = dlt.destinations.duckdb(
                str(tmp_path / "warehouse.duckdb"), staging_dataset_name_layout=f"%s_staging_{index}"
            )
            pipeline = dlt.pipeline(f"shard_{index}", str(tmp_path), destination=own, dataset_name="letta")
            source = letta_of(server.base_url, shard=f"{index}/2")
            pipeline.run(source.with_resources("agent_messages"))
    agents = warehouse.pipeline.dataset()("SELECT DISTINCT agent_id FROM agent_messages").fetchall()
    assert {row[0] for row in agents} == set(letta.tables["agents"].ids())


def test_shards_of_a_users_own_pipeline_must_not_fill_iceberg_tables(tmp_path: Path) -> None:
    pytest.importorskip("pyiceberg")
    lake = dlt.destinations.filesystem((tmp_path / "lake").as_uri())
    pipeline = dlt.pipeline("shard_0", str(tmp_path), destination=lake, dataset_name="letta")
    with serve(Letta(seed=5)) as server:
        source = letta_of(server.base_url, shard="0/2", table_format="iceberg")
        with pytest.raises(PipelineStepFailed, match="shards that load into Iceberg tables lose"):
            pipeline.run(source.with_resources("agents"))


def test_an_unfinished_load_is_discarded_if_other_shards_loaded_since(
    letta_source: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    letta = Letta(seed=6)
    busy(letta, 6)
    halves = [("--shard", f"{index}/2") for index in range(2)]
    everything = "SELECT * EXCLUDE (_dlt_load_id, sequence) FROM letta.agent_messages ORDER BY ALL"

    def fail(*args: object) -> None:
        raise MemoryError

    with serve(letta) as server:
        for half in halves:
            assert letta_source.load(server, *half).code == 0
        busy(letta, 6, OLD + timedelta(days=1))
        with monkeypatch.context() as patch:
            patch.setattr(dlt.load.load.Load, "complete_package", fail)
            assert letta_source.load(server, *halves[0]).code == 1
        assert letta_source.load(server).code == 0
        whole = letta_source.rows(everything)
        busy(letta, 6, OLD + timedelta(days=2))
        for half in halves:
            said = letta_source.load(server, *half)
            assert said.code == 0
            assert ("other loads have continued since" in said.err) == (half == halves[0])
        loaded = letta_source.rows(everything)
    assert set(whole) < set(loaded)
    assert len(loaded) == len(set(loaded)) == messages(letta)
