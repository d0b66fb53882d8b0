"""What a difference between Supabase and the desired state means."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from app.domain.drift import Difference, DifferenceKind, Effect, Origin, Repair
from app.domain.entities import EntityKey, EntityRef, Kind, membership_key
from app.domain.events import ACTIVE
from app.supabase.comparison import Texts, list_compared_columns
from app.supabase.targets import Inactive, Target

_UUID: Final = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.ASCII)
_NOT_A_UUID: Final = "the key is not a lower-case UUID: remove the row by hand"
_HAS_MEMBERS: Final = "desired memberships refer to it: let the backend send it"


@dataclass(frozen=True, slots=True)
class Rules:
    """Describes differences in one table."""

    target: Target

    def find_differences(
        self, desired: Mapping[EntityKey, Texts], found: Mapping[EntityKey, Texts]
    ) -> list[tuple[EntityKey, DifferenceKind]]:
        """Compare rows by key, in the order of the keys."""
        differences: list[tuple[EntityKey, DifferenceKind]] = []
        for key in sorted(desired.keys() | found.keys()):
            if key not in found:
                differences.append((key, DifferenceKind.MISSING))
            elif key not in desired:
                differences.append((key, DifferenceKind.EXTRA))
            elif desired[key] != found[key]:
                differences.append((key, DifferenceKind.DIFFERENT))
        return differences

    def describe(
        self,
        key: EntityKey,
        kind: DifferenceKind,
        desired: Texts | None,
        found: Texts | None,
        *,
        is_known: bool,
        has_members: bool,
    ) -> Difference:
        """Describe one difference.

        Args:
            desired: the texts of the desired row; None for no row.
            found: the texts of the row in Supabase; None for no row.
            is_known: whether any event was ever about the entity.
            has_members: whether desired memberships refer to it.
        """
        origin, repair, note = Origin.CHANGED, Repair.WRITE, None
        columns: tuple[str, ...] = ()
        match kind:
            case DifferenceKind.EXTRA:
                origin = Origin.REMOVED_BY_US if is_known else Origin.UNKNOWN_TO_US
                repair = Repair.DELETE
                if not all(map(_UUID.fullmatch, key.split("/"))):
                    repair, note = Repair.NONE, _NOT_A_UUID
                elif has_members:
                    repair, note = Repair.NONE, _HAS_MEMBERS
            case DifferenceKind.DIFFERENT:
                columns = self._list_columns(desired or (), found or ())
            case DifferenceKind.MISSING:
                pass
        ref = EntityRef(self.target.kind, key)
        effect = self._judge(kind, desired, found)
        return Difference(ref, kind, effect, origin, columns, repair, note)

    def read_key(self, texts: Texts) -> EntityKey:
        """Return the key of a row in Supabase."""
        if self.target.kind is Kind.MEMBERSHIP:
            return membership_key(texts[0] or "", texts[1] or "")
        return EntityKey(texts[0] or "")

    def _judge(self, kind: DifferenceKind, desired: Texts | None, found: Texts | None) -> Effect:
        if self.target.kind is not Kind.MEMBERSHIP:
            return Effect.DENIES if kind is DifferenceKind.MISSING else Effect.OTHER
        is_granted, should_be = self._grants_access(found), self._grants_access(desired)
        if is_granted == should_be:
            return Effect.OTHER
        return Effect.LEAKS if is_granted else Effect.DENIES

    def _grants_access(self, texts: Texts | None) -> bool:
        if texts is None or self.target.inactive is Inactive.REMOVE:
            return texts is not None
        columns = (*self.target.key_columns, *list_compared_columns(self.target))
        return texts[columns.index(self.target.columns["status"])] == ACTIVE

    def _list_columns(self, desired: Texts, found: Texts) -> tuple[str, ...]:
        columns = (*self.target.key_columns, *list_compared_columns(self.target))
        return tuple(
            column
            for column, mine, theirs in zip(columns, desired, found, strict=True)
            if mine != theirs
        )
