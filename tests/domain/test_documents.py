"""JSON is read strictly, and only equal documents have equal digests."""

import contextlib
import json
import random
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.domain.documents import digest_document, read_json, write_row
from app.domain.errors import FieldError, InputInvalid

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
)
documents = st.recursive(
    scalars | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


def reorder(document: Any, order: random.Random) -> Any:
    """Return an equal document with its fields in another order."""
    if isinstance(document, dict):
        items = [(name, reorder(value, order)) for name, value in document.items()]
        order.shuffle(items)
        return dict(items)
    if isinstance(document, list):
        return [reorder(value, order) for value in document]
    return document


def is_same(one: Any, other: Any) -> bool:
    """Tell whether two documents are equal as JSON, where 1, 1.0 and true are three values."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(is_same(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(is_same, one, other))
    return bool(one == other)


# Reading


@given(documents)
def test_json_of_any_document_is_read_back_equal(document: object) -> None:
    assert is_same(read_json(json.dumps(document).encode()), document)


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"", "is not valid JSON"),
        (b" ", "is not valid JSON"),
        (b"{", "is not valid JSON"),
        (b"{}{}", "is not valid JSON"),
        (b"{'a': 1}", "is not valid JSON"),
        (b'{"a": 1,}', "is not valid JSON"),
        (b"[1,]", "is not valid JSON"),
        (b'{"a": 01}', "is not valid JSON"),
        (b'{"a": +1}', "is not valid JSON"),
        (b'{"a": .5}', "is not valid JSON"),
        (b'{"a": 0x1}', "is not valid JSON"),
        (b'{"a": 1} // b', "is not valid JSON"),
        (b'"a\nb"', "is not valid JSON"),
        (b'"\x00"', "is not valid JSON"),
        (b"nan", "is not valid JSON"),
        (b"\xef\xbb\xbf{}", "is not valid JSON"),  # a byte order mark
        (b"1" * 5000, "is not valid JSON"),  # past the length that Python converts
        (b"-" + b"1" * 5000, "is not valid JSON"),
        (b"NaN", "contains NaN or Infinity, which JSON does not allow"),
        (b"[Infinity]", "contains NaN or Infinity, which JSON does not allow"),
        (b'{"a": -Infinity}', "contains NaN or Infinity, which JSON does not allow"),
        (b'{"a": 1, "a": 1}', "contains the same key twice in one object"),
        (b'[{"b": {"a": 1, "c": 2, "a": 3}}]', "contains the same key twice in one object"),
        (b'{"a": 1, "\\u0061": 1}', "contains the same key twice in one object"),
        (b'{"": 1, "": 1}', "contains the same key twice in one object"),
        (b"[" * 5000 + b"]" * 5000, "is nested too deeply"),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, "is nested too deeply"),
        (b"[" * 60_000, "is nested too deeply"),
        (b"\xff", "is not UTF-8"),
        (b'"\xc3"', "is not UTF-8"),
        (b'"\xed\xa0\x80"', "is not UTF-8"),  # a surrogate
        (b'"\xc0\xaf"', "is not UTF-8"),  # overlong
        (b'"\xf5\x80\x80\x80"', "is not UTF-8"),  # past U+10FFFF
        ("{}".encode("utf-16"), "is not UTF-8"),
        ("{}".encode("utf-16-le"), "is not valid JSON"),
        ("{}".encode("utf-32-be"), "is not valid JSON"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_json_not_strict_is_rejected_at_the_root(body: bytes, detail: str) -> None:
    with pytest.raises(InputInvalid) as caught:
        read_json(body)
    assert caught.value.errors == (FieldError("", detail),)


@given(st.binary() | st.text('{}[]",:\\u0123aeEnN-+. ').map(str.encode))
def test_json_of_any_bytes_is_read_or_rejected(body: bytes) -> None:
    with contextlib.suppress(InputInvalid):
        assert len(digest_document(read_json(body))) == 32


@pytest.mark.parametrize(("start", "end"), [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"":', b"}]")])
def test_json_of_500_levels_is_read_by_every_python_and_one_more_by_none(
    start: bytes, end: bytes
) -> None:
    times = 500 // (start.count(b"[") + start.count(b"{"))
    deepest = start * times + b"1" + end * times
    digest_document(read_json(deepest))
    with pytest.raises(InputInvalid) as caught:
        read_json(b"[" + deepest + b"]")
    assert caught.value.errors == (FieldError("", "is nested too deeply"),)


def test_json_of_many_brackets_beside_each_other_is_read() -> None:
    assert read_json(b"[" + b"[{}]," * 2000 + b"1]") == [*([{}] for _ in range(2000)), 1]


def test_json_key_in_two_objects_is_accepted() -> None:
    assert read_json(b'[{"a": 1}, {"a": {"a": 2}}]') == [{"a": 1}, {"a": {"a": 2}}]


def test_json_with_lone_surrogate_escapes_is_read() -> None:
    # Strict JSON by RFC 8259; the fields that are kept reject it.
    assert read_json(b'"\\ud800"') == "\ud800"


# Writing


@given(documents.filter(lambda document: isinstance(document, dict)))
def test_row_of_any_fields_is_read_back_in_their_order(row: dict[str, object]) -> None:
    written = json.loads(write_row(row))
    assert is_same(written, row)
    assert list(written) == list(row)


def test_row_is_written_without_white_space_and_escapes() -> None:
    assert write_row({"b": "é “x”", "a": 'y"\n'}) == '{"b":"é “x”","a":"y\\"\\n"}'


# Digests


@given(documents, st.randoms(use_true_random=False), st.sampled_from([None, 1, "\t"]))
def test_digest_of_a_document_in_another_order_and_spacing_is_equal(
    document: object, order: random.Random, indent: int | str | None
) -> None:
    text = json.dumps(reorder(document, order), indent=indent, ensure_ascii=False)
    body = text.encode(errors="surrogatepass") if text.isascii() else json.dumps(document).encode()
    assert digest_document(read_json(body)) == digest_document(document)


@given(documents, documents)
@example(1, 1.0)
@example(1, True)
@example(0, False)
@example(None, "null")
@example([], {})
@example([1, 2], [2, 1])
@example("\ud800", "\\ud800")
@example({"a": {"b": 1}}, {"a": {"b": "1"}})
@example({"a": None}, {})
@example("é", "é")
def test_digests_of_documents_that_differ_differ(one: object, other: object) -> None:
    if not is_same(one, other):
        assert digest_document(one) != digest_document(other)


def test_digest_of_a_document_never_changes() -> None:
    # Stored beside every event: another digest would turn each retry into a conflict.
    digest = digest_document({"type": "x", "data": {"b": [1, 2.5, None, True], "a": "é"}})
    assert digest.hex() == "ced6b1a9c0c639db0f86fd027b2d4a701190afb16e4363bf8320230a4bc6b87d"


def test_digest_of_a_document_nested_too_deeply_is_rejected() -> None:
    document: object = 1
    for _ in range(100_000):
        document = [document]
    with pytest.raises(InputInvalid) as caught:
        digest_document(document)
    assert caught.value.errors == (FieldError("", "is nested too deeply"),)
