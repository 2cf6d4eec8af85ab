"""Documents do what stock TinyDB does: thousands of random operations on both, every answer and every error compared.

They differ in what the last tests show, on purpose, and in nothing else.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from storage.test_documents import open_database
from tinydb import Query, TinyDB, operations, where
from tinydb.queries import QueryLike
from tinydb.storages import MemoryStorage
from tinydb.table import Document, Table

Act = Callable[[TinyDB], object]

LEAST_OPERATIONS = 3000
READS = (
    *("search", "search combined", "count", "get by query", "contains by query", "get by id", "get by ids"),
    *("contains by id", "all", "iterate", "len", "tables", "the default table"),
)
WRITES = (
    *("insert", "insert with an id", "insert_multiple", "insert into the default", "insert through a held table"),
    *("update by query", "update by ids", "update all", "update_multiple", "upsert", "upsert with an id"),
    *("remove by query", "remove by ids", "truncate", "drop_table", "drop_tables", "table", "clear_cache", "reopen"),
)

WORDS = st.sampled_from(["", "a", "ab", "B", "b\nc", "7", "ü"])
NUMBERS = st.one_of(st.integers(-3, 3), st.booleans(), st.sampled_from([0.0, -0.0, 1.0, 1.5, 2**62, -(2**62), 1e300]))
SCALARS = st.one_of(st.none(), NUMBERS, WORDS)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["x", "y"]), inner, max_size=2),
        st.builds(Document, st.dictionaries(st.just("x"), inner, max_size=1), st.integers(1, 3)),
    ),
    max_leaves=4,
)
FIELD = st.sampled_from(["n", "word", "deep", "list"])
FIELDS = st.one_of(
    st.dictionaries(FIELD, VALUES, max_size=4),
    st.fixed_dictionaries({"n": NUMBERS, "word": WORDS}, optional={"list": st.lists(NUMBERS, max_size=3)}),
)
TABLES = st.sampled_from(["users", "audit", "_default"])
IDS = st.one_of(st.integers(1, 8), st.integers(1, 8), st.sampled_from([0, -1, 99]))
# True and 1.0 find the document 1 where TinyDB looks into a dict of ids, "1" does where it looks by text.
SOUGHT_IDS = st.one_of(IDS, IDS, st.sampled_from([True, 1.0, 1.5, "1", None]))
ID_LISTS = st.lists(SOUGHT_IDS, max_size=4)
DOCUMENTS = st.builds(Document, FIELDS, IDS)

# Hypothesis cannot print a Query: one that is unfinished comes out of a function.
PATHS: list[Callable[[], Query]] = [
    lambda: where("n"),
    lambda: where("word"),
    lambda: where("list"),
    lambda: where("deep"),
    lambda: where("deep")["x"],
    lambda: Query().deep.x.y,
    lambda: Query()["n"],
    lambda: where("n").map(lambda value: -value),
    lambda: where("word").map(str.upper),
]


def is_at_least(value: Any, least: int) -> bool:
    return isinstance(value, int | float) and value >= least


INNER = st.one_of(
    st.builds(lambda value: where("x") == value, SCALARS),
    st.builds(lambda: where("x").exists()),
    st.builds(lambda: Query().fragment({"x": 1})),
)


@st.composite
def conditions(draw: Any) -> Any:
    path = draw(st.sampled_from(PATHS))()
    match draw(st.integers(0, 11)):
        case 0:
            return path == draw(VALUES)
        case 1:
            return path != draw(VALUES)
        case 2:
            return path < draw(SCALARS)
        case 3:
            return path <= draw(SCALARS)
        case 4:
            return path > draw(NUMBERS)
        case 5:
            return path >= draw(NUMBERS)
        case 6:
            return path.exists()
        case 7:
            return draw(st.sampled_from([path.matches("[a-f]+"), path.search("b"), path.matches(".*c", re.DOTALL)]))
        case 8:
            return path.test(is_at_least, draw(st.integers(-1, 2)))
        case 9:
            return path.one_of(draw(st.lists(SCALARS, max_size=3)))
        case 10:
            return path.any(draw(st.one_of(st.lists(SCALARS, max_size=3), INNER)))
        case _:
            return path.all(draw(st.one_of(st.lists(SCALARS, max_size=2), INNER)))


SIMPLE = st.one_of(
    conditions(),
    conditions(),
    conditions(),
    st.builds(lambda fields: Query().fragment(fields), st.dictionaries(FIELD, SCALARS, max_size=2)),
    st.builds(lambda: Query().noop()),
)
COMBINED = st.recursive(
    SIMPLE,
    lambda inner: st.one_of(
        st.builds(lambda one, other: one & other, inner, inner),
        st.builds(lambda one, other: one | other, inner, inner),
        st.builds(lambda one: ~one, inner),
    ),
    max_leaves=4,
)


def no_query(document: Mapping[str, Any]) -> bool:
    return bool(document["n"] == 1)


QUERIES = st.one_of(SIMPLE, COMBINED, st.just(no_query))

CHANGES = st.one_of(
    FIELDS,
    st.tuples(st.sampled_from(["delete", "increment", "decrement"]), FIELD),
    st.tuples(st.sampled_from(["add", "subtract"]), FIELD, st.one_of(st.integers(1, 3), WORDS, st.just([1]))),
    st.tuples(st.just("set"), FIELD, VALUES),
    st.sampled_from([dict.clear, dict.popitem, 5]),
)


def made(change: Any) -> Any:
    """What `update` takes: fields, an operation of tinydb.operations, a callable; its values shared with nobody."""
    if isinstance(change, tuple):
        name, *arguments = deepcopy(change)
        return getattr(operations, name)(*arguments)
    return deepcopy(change)


def plain(answer: Any) -> Any:
    """The answer so that 1, 1.0 and True, and documents with other ids or another order of keys, are told apart."""
    if isinstance(answer, Document):
        return answer.doc_id, json.dumps(answer)
    if isinstance(answer, list):
        return [plain(each) for each in answer]
    return repr(sorted(answer)) if isinstance(answer, set) else repr(answer)


def contents(database: TinyDB) -> dict[str, object]:
    return {name: [plain(each) for each in database.table(name)] for name in sorted(database.tables())}


class Stock(TinyDB):
    """Stock TinyDB in memory, where a JSON file would make these differences: no document shares a value with another or
    with the caller, and an operation that raised leaves no half of itself."""

    def __init__(self) -> None:
        super().__init__(storage=MemoryStorage)

    def perform(self, act: Act) -> object:
        before = json.dumps(self.storage.read())
        told = outcome(self, act)
        self.storage.memory = json.loads(before if is_error(told) else json.dumps(self.storage.read()))
        return told

    def restart(self) -> None:
        """Forget what tables remember: their next id, their cached answers."""
        self._tables.clear()


def outcome(database: TinyDB, act: Act) -> object:
    try:
        return plain(act(database))
    except Exception as error:
        return type(error)


def is_error(told: object) -> bool:
    return isinstance(told, type)


class BothDatabases(RuleBasedStateMachine):
    """Ours, on files that are opened again and again, and stock TinyDB in memory."""

    done: ClassVar[Counter[str]] = Counter()
    raised: ClassVar[Counter[str]] = Counter()
    found: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="documents-"))
        self.ours = self.opened()
        self.stock = Stock()
        self.held: tuple[Table, Table] | None = None

    def opened(self) -> TinyDB:
        return open_database(self.directory)

    def teardown(self) -> None:
        try:
            self.reopen()
            self.they_hold_the_same()
        finally:
            self.ours.close()
            shutil.rmtree(self.directory)

    def both(self, kind: str, act: Act) -> None:
        mine, theirs = outcome(self.ours, act), self.stock.perform(act)
        assert mine == theirs, kind
        self.done[kind] += 1
        self.raised[kind] += is_error(mine)
        self.found[kind] += not is_error(mine) and mine not in ([], "None", "False", "0")

    @invariant()
    def they_hold_the_same(self) -> None:
        assert contents(self.ours) == contents(self.stock)

    @rule()
    def reopen(self) -> None:
        self.ours.close()
        self.ours = self.opened()
        self.stock.restart()
        self.held = None
        self.done["reopen"] += 1

    @initialize(documents=st.lists(st.tuples(TABLES, FIELDS), min_size=5, max_size=12))
    def fill(self, documents: list[tuple[str, Mapping[str, Any]]]) -> None:
        for name, fields in documents:
            self.insert(name, fields)

    @rule(name=TABLES, fields=FIELDS)
    def insert(self, name: str, fields: Mapping[str, Any]) -> None:
        self.both("insert", lambda database: database.table(name).insert(deepcopy(fields)))

    @rule(name=TABLES, document=st.one_of(DOCUMENTS, DOCUMENTS, st.sampled_from([5, "text", [("n", 1)]])))
    def insert_at(self, name: str, document: Any) -> None:
        self.both("insert with an id", lambda database: database.table(name).insert(deepcopy(document)))

    @rule(name=TABLES, documents=st.lists(st.one_of(FIELDS, FIELDS, DOCUMENTS), max_size=5), end=st.booleans())
    def insert_multiple(self, name: str, documents: list[Any], end: bool) -> None:
        whole = [*documents, 5] if end and len(documents) == 5 else documents
        self.both("insert_multiple", lambda database: database.table(name).insert_multiple(iter(deepcopy(whole))))

    @rule(fields=FIELDS)
    def insert_into_the_default_table(self, fields: Mapping[str, Any]) -> None:
        self.both("insert into the default", lambda database: database.insert(deepcopy(fields)))

    @rule(name=TABLES, change=CHANGES, query=QUERIES)
    def update(self, name: str, change: Any, query: QueryLike) -> None:
        self.both("update by query", lambda database: database.table(name).update(made(change), query))

    @rule(name=TABLES, change=CHANGES, doc_ids=ID_LISTS)
    def update_ids(self, name: str, change: Any, doc_ids: list[Any]) -> None:
        self.both("update by ids", lambda database: database.table(name).update(made(change), doc_ids=doc_ids))

    @rule(name=TABLES, change=CHANGES)
    def update_all(self, name: str, change: Any) -> None:
        self.both("update all", lambda database: database.table(name).update(made(change)))

    @rule(name=TABLES, updates=st.lists(st.tuples(CHANGES, QUERIES), max_size=3))
    def update_multiple(self, name: str, updates: list[Any]) -> None:
        self.both(
            "update_multiple",
            lambda database: database.table(name).update_multiple([(made(change), query) for change, query in updates]),
        )

    @rule(name=TABLES, fields=FIELDS, query=st.one_of(QUERIES, QUERIES, st.none()))
    def upsert(self, name: str, fields: Mapping[str, Any], query: QueryLike | None) -> None:
        self.both("upsert", lambda database: database.table(name).upsert(deepcopy(fields), query))

    @rule(name=TABLES, document=DOCUMENTS)
    def upsert_at(self, name: str, document: Document) -> None:
        self.both("upsert with an id", lambda database: database.table(name).upsert(deepcopy(document)))

    @rule(name=TABLES, query=st.one_of(QUERIES, QUERIES, QUERIES, st.none()))
    def remove(self, name: str, query: QueryLike | None) -> None:
        self.both("remove by query", lambda database: database.table(name).remove(query))

    @rule(name=TABLES, doc_ids=ID_LISTS)
    def remove_ids(self, name: str, doc_ids: list[Any]) -> None:
        self.both("remove by ids", lambda database: database.table(name).remove(doc_ids=doc_ids))

    @rule(name=TABLES, now=st.integers(0, 2))
    def truncate(self, name: str, now: int) -> None:
        if now == 2:
            self.both("truncate", lambda database: database.table(name).truncate())

    @rule(name=st.one_of(TABLES, st.just("never made")), now=st.integers(0, 2))
    def drop_table(self, name: str, now: int) -> None:
        if now == 2:
            self.both("drop_table", lambda database: database.drop_table(name))

    @rule(now=st.integers(0, 5))
    def drop_tables(self, now: int) -> None:
        """Seldom: on empty tables there is little to see."""
        if now == 5:
            self.both("drop_tables", lambda database: database.drop_tables())

    @rule(name=TABLES, persist_empty=st.booleans(), cache_size=st.integers(0, 3))
    def table_with_options(self, name: str, persist_empty: bool, cache_size: int) -> None:
        self.both(
            "table",
            lambda database: len(database.table(name, persist_empty=persist_empty, cache_size=cache_size)),
        )

    @rule(name=TABLES)
    def hold_a_table(self, name: str) -> None:
        self.held = self.ours.table(name), self.stock.table(name)

    @rule(fields=FIELDS)
    def insert_into_the_held_table(self, fields: Mapping[str, Any]) -> None:
        """It may have been dropped since."""
        if self.held:
            mine, theirs = self.held
            self.both(
                "insert through a held table",
                lambda database: (mine if database is self.ours else theirs).insert(deepcopy(fields)),
            )
            theirs.clear_cache()
            assert plain(mine.all()) == plain(theirs.all())
            self.stock.table(theirs.name).clear_cache()  # the cache of the table of that name knows nothing of it

    @rule(name=TABLES, query=SIMPLE)
    def search(self, name: str, query: QueryLike) -> None:
        self.both("search", lambda database: database.table(name).search(query))
        self.both("search", lambda database: database.table(name).search(query))  # now stock has it in its cache

    @rule(name=TABLES, query=COMBINED)
    def search_combined(self, name: str, query: QueryLike) -> None:
        self.stock.table(name).clear_cache()  # it holds `a & b` for `b & a`, though only one of them may raise
        self.both("search combined", lambda database: database.table(name).search(query))

    @rule(name=TABLES, query=QUERIES)
    def count(self, name: str, query: QueryLike) -> None:
        self.stock.table(name).clear_cache()
        self.both("count", lambda database: database.table(name).count(query))

    @rule(name=TABLES, query=QUERIES)
    def get(self, name: str, query: QueryLike) -> None:
        self.both("get by query", lambda database: database.table(name).get(query))
        self.both("contains by query", lambda database: database.table(name).contains(query))

    @rule(name=TABLES, doc_id=SOUGHT_IDS, doc_ids=ID_LISTS)
    def get_ids(self, name: str, doc_id: Any, doc_ids: list[Any]) -> None:
        self.both("get by id", lambda database: database.table(name).get(doc_id=doc_id))
        self.both("get by ids", lambda database: database.table(name).get(doc_ids=doc_ids))
        self.both("contains by id", lambda database: database.table(name).contains(doc_id=doc_id))

    @rule(name=TABLES)
    def look(self, name: str) -> None:
        self.both("all", lambda database: database.table(name).all())
        self.both("iterate", lambda database: list(database.table(name)))
        self.both("len", lambda database: len(database.table(name)))
        self.both("tables", lambda database: database.tables())
        self.both("the default table", lambda database: [len(database), *database, *database.all()])
        self.both("clear_cache", lambda database: database.table(name).clear_cache())


def run(machine: type[RuleBasedStateMachine], **how: Any) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine,
        settings=settings(
            **{"phases": [Phase.reuse, Phase.generate, Phase.shrink]} | how,
            stateful_step_count=60,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.timeout(400)  # it takes 10 s; what fails is made short for 5 min
def test_thousands_of_random_operations_end_as_in_stock_tinydb() -> None:
    done, raised, found = BothDatabases.done, BothDatabases.raised, BothDatabases.found
    for counter in (done, raised, found):
        counter.clear()
    run(BothDatabases, max_examples=100)
    print(f"{done.total()} operations, {raised.total()} of them raised: {done}")
    assert done.total() >= LEAST_OPERATIONS
    assert done["reopen"] >= 50
    assert [kind for kind in (*READS, *WRITES) if not done[kind]] == []
    assert [kind for kind in READS if not found[kind]] == [], "there was nothing to find"
    assert raised.total() >= 50


class Forgetful(TinyDB):
    """Wrong on purpose: what an update changes in a document with more than one field is not kept."""

    def __init__(self) -> None:
        super().__init__(storage=MemoryStorage)

    def close(self) -> None:
        for table in (self.storage.read() or {}).values():
            for document in table.values():
                while len(document) > 2:
                    document.popitem()


def test_a_database_that_forgets_a_little_at_each_restart_is_caught() -> None:
    forgetful = Forgetful()

    class Wrong(BothDatabases):
        def opened(self) -> TinyDB:
            return forgetful

    with pytest.raises(AssertionError):
        run(Wrong, max_examples=20, phases=[Phase.generate], database=None, report_multiple_bugs=False)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[TinyDB]:
    opened = open_database(tmp_path / "documents")
    yield opened
    opened.close()


def test_an_operation_that_raises_has_changed_nothing(database: TinyDB) -> None:
    """Stock TinyDB in memory keeps the half of it."""
    documents = [{"n": 1}, {"word": "has no n"}, {"n": 3}]
    stock = TinyDB(storage=MemoryStorage)
    for each in (database, stock):
        each.insert_multiple(documents)
        with pytest.raises(KeyError):
            each.update(operations.increment("n"))
    assert stock.all() == [{"n": 2}, {"word": "has no n"}, {"n": 3}]
    assert database.all() == documents


def test_queries_that_stock_takes_for_the_same_one_are_told_apart(database: TinyDB) -> None:
    pairs = [
        (where("a").fragment({"n": 1}), where("b").fragment({"n": 1})),
        (where("word").matches("x"), where("word").matches("x", re.IGNORECASE)),
    ]
    stock = TinyDB(storage=MemoryStorage)
    for each in (database, stock):
        each.insert_multiple([{"a": {"n": 1}, "b": {}}, {"a": {}, "b": {"n": 1}}, {"word": "X"}])
    for one, other in pairs:
        assert stock.search(one) == stock.search(other), "stock's cache goes by a hash that is too short"
        assert database.search(one) != database.search(other)


@pytest.mark.parametrize("doc_id", ["7", "seven", 7.0, 7.5, True, None])
def test_an_id_that_is_no_whole_number_is_refused(database: TinyDB, doc_id: Any) -> None:
    """Stock TinyDB takes it, and mostly cannot read its table again."""
    table = database.table("users")
    for refused in (
        lambda: table.insert(Document({"n": 1}, doc_id)),
        lambda: table.insert_multiple([Document({"n": 1}, doc_id), {"n": 2}]),
        lambda: table.upsert(Document({"n": 1}, doc_id)),
    ):
        with pytest.raises(ValueError, match="whole number"):
            refused()
    assert table.all() == []


def test_a_query_result_inside_of_a_document_is_stored_as_an_object(database: TinyDB, tmp_path: Path) -> None:
    database.table("users").insert({"name": "Ann"})
    database.table("audit").insert({"before": database.table("users").get(doc_id=1)})
    database.close()
    again = open_database(tmp_path / "documents")
    assert again.table("audit").all() == [{"before": {"name": "Ann"}}]
    again.close()


def test_all_tables_are_dropped_by_one_line(database: TinyDB, tmp_path: Path) -> None:
    for name in ("users", "audit", "tokens"):
        database.table(name).insert({"n": 1})
    journal = tmp_path / "documents" / "0000000001.ndj"
    before = journal.read_bytes()
    database.drop_tables()
    [line] = journal.read_bytes().removeprefix(before).splitlines()
    assert b'"ops":[["drop","users"],["drop","audit"],["drop","tokens"]]' in line
