"""The differences between the source and the desired state, and the plan that repairs them."""

from collections.abc import Iterable, Iterator
from typing import Final

from app.cli.source.temporary_database import TemporaryDatabase
from app.domain.drift import Difference, DifferenceKind, Effect, Origin, Plan, Repair
from app.domain.entities import EntityKey, EntityRef, Kind

KINDS: Final = (Kind.MEMBERSHIP, Kind.TRIP, Kind.USER)
"""The order in which kinds are compared: what may leak first."""

_EFFECTS: Final = tuple(Effect)
_SCHEMA: Final = """
create table differences (
  effect integer not null, kind integer not null, key text not null, difference text not null,
  origin text not null, columns text not null, repair text not null, note text,
  primary key (effect, kind, key)
) without rowid;
"""


class Differences(TemporaryDatabase):
    """Differences, sorted; of a lost store there are as many as the source has rows."""

    def __init__(self) -> None:
        super().__init__(_SCHEMA)

    def add(self, found: Difference) -> None:
        """Add one."""
        values = (
            _EFFECTS.index(found.effect),
            KINDS.index(found.ref.kind),
            found.ref.key,
            found.kind.value,
            found.origin.value,
            ",".join(found.columns),
            found.repair.value,
            found.note,
        )
        self.connection.execute("insert into differences values (?, ?, ?, ?, ?, ?, ?, ?)", values)

    def clear(self) -> None:
        """Forget all, before another comparison."""
        self.connection.execute("delete from differences")

    def read_all(self) -> Iterator[Difference]:
        """Read them in the order of a report: what leaks, what denies, then the rest."""
        return self._read("order by effect, kind, key")

    def read_repairs(
        self, kind: Kind, repair: Repair, effects: Iterable[Effect]
    ) -> Iterator[Difference]:
        """Read those of one kind that are repaired in one way and have one of the effects."""
        for effect in effects:
            yield from self._read(
                "where effect = ? and kind = ? and repair = ? order by key",
                *(_EFFECTS.index(effect), KINDS.index(kind), repair.value),
            )

    def count_effect(self, kind: Kind, effect: Effect) -> int:
        """Count those of one kind with one effect."""
        query = "select count(*) from differences where kind = ? and effect = ?"
        return self.count(query, KINDS.index(kind), _EFFECTS.index(effect))

    def count_repairs(self, repair: Repair) -> int:
        """Count those that are repaired in one way."""
        return self.count("select count(*) from differences where repair = ?", repair.value)

    def compute_plan_id(self) -> str | None:
        """Compute the id of the plan; None if nothing differs."""
        plan = Plan()
        plan.add(self._read("order by kind, key"))
        return plan.plan_id

    def _read(self, clauses: str, *values: object) -> Iterator[Difference]:
        query = f"select * from differences {clauses}"  # noqa: S608 - ours
        for effect, kind, key, difference, origin, columns, repair, note in self.connection.execute(
            query, values
        ):
            yield Difference(
                ref=EntityRef(KINDS[kind], EntityKey(key)),
                kind=DifferenceKind(difference),
                effect=_EFFECTS[effect],
                origin=Origin(origin),
                columns=tuple(columns.split(",")) if columns else (),
                repair=Repair(repair),
                note=note,
            )
