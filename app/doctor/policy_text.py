"""Judge a policy by its text: what its expression requires of the caller.

The second line, for what cannot be evaluated. An expression that names the memberships, itself or
through a function, but never their status cannot tell a former member from a current one; one that
names neither cannot tell a member from a stranger.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from app.doctor.catalog import FunctionFacts, TableFacts
from app.supabase.targets import Target


class Requirement(StrEnum):
    """What an expression requires of the caller."""

    NOTHING = "nothing"
    NO_MEMBERSHIP = "no membership"
    ANY_STATUS = "a membership of any status"
    MEMBERSHIP = "an ACTIVE membership, or something else that its text names"


@dataclass(frozen=True, slots=True)
class Judgement:
    """A requirement, and the name of the function that accepts any status, if one is called."""

    requirement: Requirement
    function: str | None = None


class PolicyReader:
    """Reads expressions of one project."""

    def __init__(
        self,
        memberships: Target,
        functions: Sequence[FunctionFacts],
        protected: Sequence[TableFacts],
    ) -> None:
        """Read the functions.

        Args:
            memberships: the target.
            functions: of the project.
            protected: the tables whose own policies hide the rows of other trips.
        """
        self._table = memberships.table
        self._status = memberships.columns["status"]
        self._protected = protected
        self._any_status = [f for f in functions if self._ignores_status(f.definition)]
        self._members = [f for f in functions if names(f.definition, self._table)]
        for known in self._members:  # grows by the functions that call them
            for function in functions:
                if function not in self._members and names(function.definition, known.name):
                    self._members.append(function)

    def names_status(self, expression: str) -> bool:
        """Tell whether an expression names the status of memberships."""
        return names(expression, self._status)

    def judge(self, expression: str, table: TableFacts) -> Judgement:
        """Judge an expression of a table's policy."""
        if expression == "true":
            return Judgement(Requirement.NOTHING)
        if self._ignores_status(expression):
            return Judgement(Requirement.ANY_STATUS)
        for function in self._any_status:
            if names(expression, function.name):
                return Judgement(Requirement.ANY_STATUS, f"{function.schema}.{function.name}")
        words = (
            self._table,
            self._status,
            "service_role",
            *(function.name for function in self._members),
            *(other.name for other in self._protected if other != table),
        )
        if expression == "false" or any(names(expression, word) for word in words):
            return Judgement(Requirement.MEMBERSHIP)
        return Judgement(Requirement.NO_MEMBERSHIP)

    def _ignores_status(self, text: str) -> bool:
        return names(text, self._table) and not names(text, self._status)


def names(text: str, name: str) -> bool:
    """Tell whether a text has a name as a word."""
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) is not None
