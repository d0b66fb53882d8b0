"""The app as its users have it: @supabase/supabase-js, signed in, beside a running relay."""

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from app.demo.local_supabase import CHECKOUT, GUARD, LocalSupabase
from app.demo.node import find_node, install_packages
from tests.drivers import Driver, run_driver

HERE: Final = Path(__file__).parent
PASSWORD: Final = "correct horse battery staple"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the library answered.

    Attributes:
        data: rows or a value; None after an error.
        status: of the response.
        code: of the error, an SQLSTATE where the database refused.
        message: of the error.
    """

    data: Any
    status: int | None
    code: str | None
    message: str | None


@dataclass(frozen=True, slots=True)
class Person:
    """A user of the app with a separate client, signed in unless anonymous.

    Attributes:
        id: what Supabase Auth calls him, and so what the backend's events call him.
    """

    driver: Driver
    name: str
    id: UUID

    @property
    def email(self) -> str:
        return f"{self.name.partition(' ')[0]}@example.com"

    def sign_in_elsewhere(self) -> "Person":
        """Sign in with another client."""
        other = replace(self, name=f"{self.name} elsewhere")
        other.sign_in_again()
        return other

    def select(
        self, table: str, columns: str = "*", *, order: str | None = None, **match: object
    ) -> Answer:
        return self._ask("select", table=table, columns=columns, filter=_name(match), order=order)

    def insert(self, table: str, **row: object) -> Answer:
        return self._ask("insert", table=table, row=_name(row))

    def upsert(self, table: str, on_conflict: str, **row: object) -> Answer:
        return self._ask("upsert", table=table, row=_name(row), onConflict=on_conflict)

    def update(self, table: str, change: Mapping[str, object], **match: object) -> Answer:
        return self._ask("update", table=table, change=change, filter=_name(match))

    def delete(self, table: str, **match: object) -> Answer:
        return self._ask("delete", table=table, filter=_name(match))

    def call(self, function: str, **parameters: object) -> Answer:
        return self._ask("rpc", function=function, parameters=_name(parameters))

    def sign_in_again(self) -> None:
        """Get a new token, as the app does when it is opened."""
        answer = self._ask("signIn", email=self.email, password=PASSWORD)
        assert (answer.code, answer.data["id"]) == (None, str(self.id))

    def _ask(self, command: str, **rest: object) -> Answer:
        return ask(self.driver, self.name, command, **rest)


def _name(values: Mapping[str, object]) -> dict[str, object]:
    return {key: str(value) if isinstance(value, UUID) else value for key, value in values.items()}


def ask(driver: Driver, name: str, command: str, **rest: object) -> Answer:
    answer = driver.ask(**{"as": name, "command": command, **rest})
    error = answer["error"]
    if error is None:
        return Answer(answer["data"], answer["status"], None, None)
    code = str(error.get("code") or error["message"])
    return Answer(answer["data"], answer["status"], code, error["message"])


@dataclass(frozen=True, slots=True)
class App:
    """The app's library, with a client for everybody."""

    driver: Driver

    def sign_up(self) -> Person:
        """Make an account in Supabase Auth, and sign in."""
        name = f"user-{uuid.uuid4().hex}"
        answer = ask(self.driver, name, "signUp", email=f"{name}@example.com", password=PASSWORD)
        assert answer.code is None
        person = Person(self.driver, name, UUID(answer.data["id"]))
        person.sign_in_again()
        return person

    def open_signed_out(self) -> Person:
        return Person(self.driver, f"nobody-{uuid.uuid4().hex}", uuid.uuid4())


def install_library() -> Path:
    """Install the app's packages, once for their lock file; return `node_modules`."""
    return install_packages(
        find_node(), manifests=HERE, guard=GUARD, cache=CHECKOUT / ".local", report=lambda _: None
    )


@contextmanager
def run_app(supabase: LocalSupabase, folder: Path, *more: str) -> Iterator[App]:
    """Run the library until the block ends.

    Args:
        supabase: the project.
        folder: where its log goes.
        more: the URL of a Realtime, and the folder of the compiled example.
    """
    node = find_node()
    library = (install_library() / "@supabase" / "supabase-js" / "dist" / "index.mjs").as_uri()
    arguments = (library, supabase.url, supabase.publishable_key, *more)
    with run_driver(node, HERE / "app.mjs", *arguments, folder=folder) as driver:
        yield App(driver)
