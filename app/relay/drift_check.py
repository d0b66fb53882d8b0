"""Comparing the tables of Supabase with the desired state.

Supabase is read between two requests of the dispatcher, together with the desired state of that
moment. An entity that is applied then is in Supabase exactly as it should be, or somebody else has
changed it: events that arrive meanwhile cause no false positives.
"""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Final, TypeVar

from app.domain.drift import Difference, DifferenceKind, Effect, TableDrift
from app.domain.entities import EntityKey, EntityState, Kind
from app.domain.failures import RequestFailure, RequestFailureKind
from app.relay.difference_rules import Rules
from app.relay.dispatch import Dispatcher
from app.store import drift_queries
from app.store.drift_queries import DesiredEntity
from app.store.store import Store
from app.supabase.client import SupabaseClient
from app.supabase.comparison import (
    PAGE_ROWS,
    Digest,
    RowPage,
    TableRanges,
    Texts,
    digest_tables,
    digest_texts,
    make_text_writer,
    read_page,
    shorten_texts,
    split_key,
)
from app.supabase.targets import Inactive, Target, Targets

R = TypeVar("R", Digest, RowPage)

_FUNCTION_MISSING: Final = "PGRST202"
# Their keys are part of the request.
_MAXIMUM_UNSETTLED: Final = 10_000


# What leaks first.
_ORDER: Final = (Kind.MEMBERSHIP, Kind.TRIP, Kind.USER)


class CheckFailed(Exception):
    """Supabase cannot be compared now; the message is a sentence for operators.

    Attributes:
        needs_operator: whether the project is misconfigured, so that no later check will succeed.
    """

    def __init__(self, message: str, *, needs_operator: bool = False) -> None:
        super().__init__(message)
        self.needs_operator = needs_operator


class DriftCheck:
    """Compares the tables.

    Args:
        bucket_rows: about how many rows each digested range of keys has. One that differs is read
            row by row.
        add: receives differences in the order of the keys, a page at a time.
    """

    def __init__(
        self,
        store: Store,
        dispatcher: Dispatcher,
        supabase: SupabaseClient,
        targets: Targets,
        *,
        bucket_rows: int,
        add: Callable[[list[Difference]], Awaitable[None]],
    ) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._supabase = supabase
        self._targets = targets
        self._bucket_rows = bucket_rows
        self._add = add
        self._removes_inactive = targets.memberships.inactive is Inactive.REMOVE

    async def compare(self) -> list[TableDrift]:
        """Compare the tables, memberships first.

        Raises:
            CheckFailed: they cannot be compared now.
            LeaseLost: another replica is the leader.
            StoreUnavailable: the store cannot be read.
        """
        thresholds = {
            kind: await self._store.scan(drift_queries.read_thresholds, kind, self._bucket_rows)
            for kind in _ORDER
        }
        async with self._store.open_snapshot() as snapshot:

            async def digest() -> Digest | RequestFailure:
                ranges = [
                    TableRanges(
                        self._targets[kind],
                        thresholds[kind],
                        await snapshot.run(
                            drift_queries.read_unsettled, kind, _MAXIMUM_UNSETTLED + 1
                        ),
                    )
                    for kind in _ORDER
                ]
                if any(len(each.excluded) > _MAXIMUM_UNSETTLED for each in ranges):
                    raise CheckFailed(f"more than {_MAXIMUM_UNSETTLED} changes are pending or dead")
                return await digest_tables(self._supabase, ranges)

            found = dict(zip(_ORDER, (await self._read(digest)).tables, strict=True))
            writers = {
                kind: make_text_writer(self._targets[kind], found[kind].constants)
                for kind in _ORDER
            }
            desired = await snapshot.run(
                drift_queries.sum_buckets,
                thresholds,
                {kind: partial(_digest_row, writers[kind]) for kind in _ORDER},
                removes_inactive=self._removes_inactive,
            )
        return [
            await self._compare_table(
                self._targets[kind],
                writers[kind],
                (None, *thresholds[kind], None),
                found[kind].buckets,
                desired[kind],
            )
            for kind in _ORDER
        ]

    async def _compare_table(
        self,
        target: Target,
        write_texts: Callable[[str], Texts],
        bounds: Sequence[str | None],
        found: Sequence[tuple[int, int]],
        desired: Sequence[tuple[int, int]],
    ) -> TableDrift:
        counts: Counter[Effect] = Counter()
        for number, (start, end) in enumerate(pairwise(bounds)):
            if found[number] != desired[number]:
                async for page in self._read_bucket(target, write_texts, start, end):
                    counts.update(each.effect for each in page)
                    await self._add(page)
        rows = sum(count for count, _ in desired)
        return TableDrift(target.kind, target.qualified_name, rows, counts)

    async def _read(self, query: Callable[[], Awaitable[R | RequestFailure]]) -> R:
        result = await self._dispatcher.read_between_requests(query)
        if isinstance(result, RequestFailure):
            is_misconfigured = result.kind is RequestFailureKind.MISCONFIGURED
            raise CheckFailed(_describe(result), needs_operator=is_misconfigured)
        return result

    async def _read_bucket(
        self,
        target: Target,
        write_texts: Callable[[str], Texts],
        start: str | None,
        end: str | None,
    ) -> AsyncIterator[list[Difference]]:
        rules = Rules(target)
        after: tuple[str, ...] | None = None
        entities: dict[EntityKey, DesiredEntity] = {}

        async def read() -> RowPage | RequestFailure:
            nonlocal entities
            entities = await self._store.read(
                drift_queries.read_range,
                target.kind,
                start,
                end,
                removes_inactive=self._removes_inactive,
            )
            return await read_page(self._supabase, target, start, end, after)

        while True:
            page = await self._read(read)
            last = None
            if len(page.rows) == PAGE_ROWS:
                last = tuple(text or "" for text in page.rows[-1][: len(target.key_columns)])
            in_page = {
                key: entity
                for key, entity in entities.items()
                if (after is None or split_key(target.kind, key) > after)
                and (last is None or split_key(target.kind, key) <= last)
            }
            yield await self._compare_page(rules, write_texts, in_page, page)
            if last is None:
                return
            after = last

    async def _compare_page(
        self,
        rules: Rules,
        write_texts: Callable[[str], Texts],
        entities: dict[EntityKey, DesiredEntity],
        page: RowPage,
    ) -> list[Difference]:
        kind = rules.target.kind
        unsettled = {
            key for key, entity in entities.items() if entity.state is not EntityState.APPLIED
        }
        desired = {
            key: shorten_texts(write_texts(entity.row))
            for key, entity in entities.items()
            if entity.row is not None and key not in unsettled
        }
        found = {rules.read_key(row): row for row in page.rows}
        differing = [
            each for each in rules.find_differences(desired, found) if each[0] not in unsettled
        ]
        if not differing:
            return []
        extra = [key for key, difference in differing if difference is DifferenceKind.EXTRA]
        missing = [key for key, difference in differing if difference is DifferenceKind.MISSING]
        known = await self._store.read(drift_queries.find_known, kind, extra)
        with_members = await self._store.read(drift_queries.find_with_members, kind, extra)
        cascaded: frozenset[EntityKey] = frozenset()
        if kind is Kind.MEMBERSHIP:
            cascaded = await self._store.read(drift_queries.find_with_unsettled_parents, missing)
        return [
            rules.describe(
                key,
                difference,
                desired.get(key),
                found.get(key),
                is_known=key in known,
                has_members=key in with_members,
            )
            for key, difference in differing
            if key not in cascaded
        ]


def _digest_row(write_texts: Callable[[str], Texts], row: str) -> int:
    return digest_texts(write_texts(row))


def _describe(failure: RequestFailure) -> str:
    if failure.code == _FUNCTION_MISSING:
        return (
            "relay_digest or relay_read is missing in Supabase: apply the output of `relay sql` to"
            " the project"
        )
    return f"Supabase did not answer: {failure.code}, {failure.message}"
