"""The tree of errors in the docstring, and the sentences that callers see."""

import re
from collections.abc import Iterator

import pytest

from app.domain import errors
from app.domain.errors import (
    BodyTooLarge,
    BodyTooSlow,
    ConfigurationInvalid,
    ContentEncodingUnsupported,
    EventIdConflict,
    EventNotFound,
    FieldError,
    HeadTooLarge,
    HeadTooSlow,
    InputInvalid,
    KeySetUnavailable,
    LeaseLost,
    MediaTypeUnsupported,
    OperatorAccessNotConfigured,
    Overloaded,
    ReconciliationNotFound,
    RelayError,
    ReplayNotFound,
    RequestMalformed,
    ScopeMissing,
    StoreUnavailable,
    TemporarilyUnavailable,
    Unauthenticated,
)

EXAMPLES: list[RelayError] = [
    RequestMalformed("the content length is not a number"),
    HeadTooLarge(32_768, 100),
    HeadTooSlow(10),
    BodyTooLarge(65_536),
    BodyTooSlow(10),
    MediaTypeUnsupported(),
    ContentEncodingUnsupported(),
    Unauthenticated("no-match"),
    ScopeMissing("replay:write"),
    OperatorAccessNotConfigured(),
    InputInvalid([FieldError("/data/id", "must be a UUID")]),
    EventIdConflict(),
    EventNotFound(),
    ReplayNotFound(),
    ReconciliationNotFound(),
    Overloaded(),
    StoreUnavailable(),
    KeySetUnavailable(),
    LeaseLost(),
    ConfigurationInvalid("PORT is not set."),
]


def read_drawn_tree() -> set[tuple[str, str]]:
    """Return (child, parent) for every edge of the tree in the docstring."""
    edges: set[tuple[str, str]] = set()
    above: dict[int, str] = {}
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"    ([ │├└─]*)([A-Z]\w+)", line)
        if match is None:
            continue
        depth = len(match[1]) // 4
        above[depth] = match[2]
        if depth > 0:
            edges.add((match[2], above[depth - 1]))
    return edges


def find_subclasses(error: type[RelayError]) -> Iterator[tuple[type[RelayError], type[RelayError]]]:
    for child in error.__subclasses__():
        yield child, error
        yield from find_subclasses(child)


def test_error_tree_in_the_docstring_matches_the_classes() -> None:
    classes = {(child.__name__, parent.__name__) for child, parent in find_subclasses(RelayError)}
    assert read_drawn_tree() == classes


def test_examples_cover_every_concrete_error() -> None:
    concrete = {child for child, _ in find_subclasses(RelayError) if not child.__subclasses__()}
    assert {type(error) for error in EXAMPLES} == concrete


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_error_of_each_kind_is_one_sentence(error: RelayError) -> None:
    assert re.fullmatch(r"[A-Z][^\n]*\.", str(error))


def test_unauthenticated_hides_its_reason() -> None:
    error = Unauthenticated("no-match")
    assert error.reason == "no-match"
    assert "no-match" not in str(error)
    assert str(error) == str(Unauthenticated("token-expired"))


def test_error_with_a_limit_or_scope_names_it() -> None:
    assert "65536" in str(BodyTooLarge(65_536))
    assert "replay:write" in str(ScopeMissing("replay:write"))


def test_input_invalid_keeps_its_errors_in_order() -> None:
    problems = [FieldError("/type", "is required"), FieldError("/data", "is required")]
    assert InputInvalid(problems).errors == tuple(problems)


@pytest.mark.parametrize("error", [Overloaded(), StoreUnavailable(), KeySetUnavailable()])
def test_temporary_error_says_when_to_retry(error: TemporarilyUnavailable) -> None:
    assert error.retry_after_seconds >= 1
