"""An ordinary TinyDB query on results is narrowed to where they can be, and answers as a look at all of them would."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeClock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from storage.samples import START_AT
from tinydb import Query, TinyDB, where
from tinydb.queries import QueryLike
from tinydb.storages import MemoryStorage
from tinydb.table import Document

from dashboard.storage.appender import Limits
from dashboard.storage.planner import Plan, plan
from dashboard.storage.series import SeriesTable
from dashboard.storage.store import TinyStore

START_S = START_AT.timestamp()
IS_API, IS_SHOP = where("check_id") == "api", where("check_id") == "shop"
IS_BAD = (where("status") == "critical") | (where("status") == "warning")
A, B = START_S, START_S + 3600.0
FROM_A, BEFORE_B = where("at") >= A, where("at") < B
EVERYWHERE = Plan()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (IS_API, Plan(check_id="api")),
        (Query().check_id == "api", Plan(check_id="api")),
        (Query()["check_id"] == "api", Plan(check_id="api")),
        (IS_API & FROM_A & BEFORE_B, Plan(check_id="api", start_s=A, end_s=B)),
        (BEFORE_B & (FROM_A & IS_API), Plan(check_id="api", start_s=A, end_s=B)),
        ((Query().check_id == "api") & (Query().at > A) & (Query().at <= B), Plan(check_id="api", start_s=A, end_s=B)),
        (FROM_A & BEFORE_B, Plan(start_s=A, end_s=B)),
        (IS_API & (where("at") == A), Plan(check_id="api", start_s=A, end_s=A)),
        (IS_API & (where("at") > 5), Plan(check_id="api", start_s=5.0)),
        (IS_API & IS_BAD, Plan(check_id="api")),
        (IS_API & FROM_A & ~IS_BAD & where("metrics")["size"].exists(), Plan(check_id="api", start_s=A)),
        ((IS_API & BEFORE_B) | (IS_API & FROM_A), Plan(check_id="api")),
        ((IS_API & FROM_A) | (IS_SHOP & (where("at") >= B)), Plan(start_s=A)),
        (IS_API & ((FROM_A & BEFORE_B) | (where("at") == B + 5)), Plan(check_id="api", start_s=A, end_s=B + 5)),
        ((IS_API | IS_API) & FROM_A, Plan(check_id="api", start_s=A)),
        (IS_API | IS_SHOP, EVERYWHERE),
        (IS_API | FROM_A, EVERYWHERE),
        (IS_API | IS_BAD, EVERYWHERE),
        (~IS_API, EVERYWHERE),
        (~(IS_API & FROM_A), EVERYWHERE),
        (IS_BAD, EVERYWHERE),
        (Query().noop(), EVERYWHERE),
        (Query().fragment({"check_id": "api"}), EVERYWHERE),
        (where("check_id").one_of(["api"]), EVERYWHERE),
        (where("check_id").matches("api"), EVERYWHERE),
        (where("check_id").map(str.lower) == "api", EVERYWHERE),
        (where("detail")["check_id"] == "api", EVERYWHERE),
        (where("at") >= math.nan, EVERYWHERE),
    ],
)
def test_the_plan_is_read_from_the_query(query: QueryLike, expected: Plan) -> None:
    assert plan(query) == expected


def test_two_checks_at_once_are_looked_for_in_one_of_them() -> None:
    assert plan(IS_API & IS_SHOP).check_id in ("api", "shop")


INSTANTS = st.one_of(
    st.integers(0, 12).map(lambda n: START_S + 10 * n),
    st.floats(START_S, START_S + 120, allow_nan=False),
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "check_id": st.sampled_from(["api", "shop", "db"]),
            "at": INSTANTS,
            "status": st.sampled_from(["ok", "warning", "critical", "unknown"]),
            "metrics": st.dictionaries(st.sampled_from(["size", "time"]), st.floats(0, 9), max_size=2),
        }
    ),
    min_size=1,
    max_size=40,
)
BOUNDS = st.one_of(
    INSTANTS,
    INSTANTS.map(lambda at: math.nextafter(at, math.inf)),
    INSTANTS.map(int),
    st.sampled_from([math.inf, -math.inf, 0, 1 << 70]),
)


@st.composite
def conditions(draw: Any) -> QueryLike:
    bound = draw(BOUNDS)
    return draw(
        st.sampled_from(
            [
                where("check_id") == draw(st.sampled_from(["api", "shop", "db", "none"])),
                where("at") < bound,
                where("at") <= bound,
                where("at") > bound,
                where("at") >= bound,
                where("at") == bound,
                where("at") != bound,
                where("status") == "critical",
                where("metrics")["size"].exists(),
                where("check_id").one_of(["api", "db"]),
            ]
        )
    )


QUERIES = st.recursive(
    conditions(),
    lambda inner: st.one_of(
        st.builds(lambda one, other: one & other, inner, inner),
        st.builds(lambda one, other: one & other, inner, inner),
        st.builds(lambda one, other: one | other, inner, inner),
        st.builds(lambda one: ~one, inner),
    ),
    max_leaves=6,
)


def seen(documents: list[Document]) -> list[tuple[int, dict[str, Any]]]:
    return [(each.doc_id, dict(each)) for each in documents]


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=ROWS, queries=st.lists(QUERIES, min_size=5, max_size=15), cut=st.integers(0, 40), is_sealed=st.booleans())
def test_planned_answers_are_those_of_a_scan(
    rows: list[dict[str, Any]],
    queries: list[QueryLike],
    cut: int,
    is_sealed: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    store = TinyStore(
        tmp_path_factory.mktemp("store"), FakeClock(START_AT), limits=Limits(reserve_bytes=0, journal_rows=8)
    )
    store.open()
    table = store.database.table("results")
    table.insert_multiple(rows[:cut])
    if is_sealed:
        store.compact()  # these lie in a segment now, the others in journals
    for row in rows[cut:]:
        table.insert(row)
    scanned = TinyDB(storage=MemoryStorage).table("results", cache_size=0)
    scanned.insert_multiple(table.all())
    assert len(scanned) == len(rows)
    for query in queries:
        expected = seen(scanned.search(query))
        assert seen(table.search(query)) == expected, query
        assert table.count(query) == len(expected), query
        assert table.contains(query) is bool(expected), query
        first = table.get(query)
        assert (None if first is None else first.doc_id) == (expected[0][0] if expected else None), query
    store.close()


@pytest.fixture
def table(tmp_path: Path) -> Iterator[SeriesTable]:
    store = TinyStore(tmp_path, FakeClock(START_AT), limits=Limits(reserve_bytes=0, journal_rows=500))
    store.open()
    found = store.database.table("results")
    assert isinstance(found, SeriesTable)
    found.insert_multiple(
        {"check_id": ("api", "shop", "db")[n % 3], "at": START_S + n, "status": "ok"} for n in range(3000)
    )
    yield found
    store.close()


@pytest.mark.parametrize(
    ("query", "matching", "looked_at"),
    [
        (IS_API, 1000, 1000),
        (IS_API & (where("at") >= START_S + 300) & (where("at") < START_S + 600), 100, 101),
        ((where("at") >= START_S + 300) & (where("at") < START_S + 600), 300, 600),
        (~IS_API, 2000, 3000),
    ],
)
def test_only_what_the_plan_leaves_is_looked_at(table: SeriesTable, query: Any, matching: int, looked_at: int) -> None:
    looked: list[object] = []

    def look(status: object) -> bool:
        looked.append(status)
        return True

    assert table.count(where("status").test(look) & query) == matching
    assert matching <= len(looked) <= looked_at
