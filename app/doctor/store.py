"""Judging the store: whether a relay could start with it, and how replicas hear each other."""

from collections.abc import Iterator
from typing import Final, assert_never

from app.doctor.findings import Finding, fine, problem, setting
from app.domain.errors import ConfigurationInvalid
from app.store.inspecting import Standing, StoreState, inspect_store
from app.store.signals import Pooler

_CHECK: Final = "store"
_OTHER_STORE: Final = setting("STORE_URL=sqlite:////data/relay.db")


def examine_store(store_url: str, pooler: Pooler) -> Iterator[Finding]:
    """Look at the store; a relay that runs on it is not disturbed."""
    try:
        state = inspect_store(store_url)
    except ConfigurationInvalid as error:
        yield problem(
            _CHECK, f"{error}.", "Without its store the relay accepts nothing.", _OTHER_STORE
        )
        return
    yield _judge_standing(state)
    if state.has_sessions is not None:
        yield judge_pooler(pooler, has_sessions=state.has_sessions)


def _judge_standing(state: StoreState) -> Finding:
    match state.standing:
        case Standing.ABSENT:
            return fine(_CHECK, f"There is no store at {state.place} yet; relay serve makes it.")
        case Standing.BEHIND:
            return fine(
                _CHECK,
                f"The store {state.place} is at revision {state.revision}; relay serve brings it to"
                f" {state.head} when it starts.",
            )
        case Standing.CURRENT if state.has_function:
            return fine(_CHECK, f"The store {state.place} is at revision {state.head}.")
        case Standing.CURRENT:
            return fine(
                _CHECK,
                f"The store {state.place} is at revision {state.head}; relay serve adds the"
                " function by which this version receives.",
            )
        case Standing.NEWER:
            return problem(
                _CHECK,
                f"The store {state.place} is at revision {state.revision}, which this version of"
                f" the relay does not know: its own is {state.head}.",
                "A newer version made it, and this one does not start with it. Run that one, or"
                " give this one a store of its own.",
                _OTHER_STORE,
            )
        case _:
            assert_never(state.standing)


def judge_pooler(pooler: Pooler, *, has_sessions: bool) -> Finding:
    """Compare how the store's connections are with what STORE_POOLER says of them."""
    check = "store-pooler"
    if has_sessions and pooler is Pooler.TRANSACTION:
        return fine(
            check,
            "The store's connections are sessions; with STORE_POOLER=auto replicas would tell each"
            " other at once instead of looking.",
        )
    if has_sessions:
        return fine(check, "The store's connections are sessions: replicas tell each other.")
    return fine(
        check,
        "A transaction pooler stands before the store: replicas look four times a second for what"
        " others did.",
    )
