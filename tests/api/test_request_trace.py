"""The ids of a request, which come from strangers."""

import pytest

from app.api.request_trace import read_trace

TRACE_ID = b"4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = b"00-%b-00f067aa0ba902b7-01" % TRACE_ID


def test_trace_of_a_request_with_both_ids_has_both_and_repeats_both() -> None:
    trace = read_trace({b"x-request-id": b"req-1", b"traceparent": PARENT})
    assert (trace.request_id, trace.trace_id) == (b"req-1", TRACE_ID)
    assert trace.response_headers == (
        (b"x-request-id", b"req-1"),
        (b"traceparent", PARENT),
    )
    assert trace.stored == f"req-1 {TRACE_ID.decode()}"


def test_trace_of_a_request_with_a_traceparent_alone_has_the_trace_id_twice() -> None:
    trace = read_trace({b"traceparent": PARENT})
    assert (trace.request_id, trace.trace_id) == (TRACE_ID, TRACE_ID)
    assert trace.response_headers[0] == (b"x-request-id", TRACE_ID)


def test_trace_of_a_request_without_ids_is_made_and_not_stored() -> None:
    made = [read_trace({}) for _ in range(1000)]
    assert len({each.request_id for each in made}) == 1000
    assert {(each.trace_id, each.stored) for each in made} == {(None, None)}
    assert all(dict(each.response_headers)[b"x-request-id"] for each in made)


@pytest.mark.parametrize(
    "given",
    [b"", b"x" * 129, b"with space", b"tab\t", b"a, b", "é".encode(), b"\x7f", b"a\r\nb", b"a\n"],
)
def test_request_id_that_is_too_long_or_not_visible_ascii_is_not_repeated(given: bytes) -> None:
    trace = read_trace({b"x-request-id": given})
    assert trace.stored is None
    ((_, repeated),) = trace.response_headers
    assert repeated != given
    assert len(repeated) == 32


def test_request_id_of_the_longest_length_is_repeated() -> None:
    given = b"!" + b"~" * 127
    assert read_trace({b"x-request-id": given}).response_headers == ((b"x-request-id", given),)


@pytest.mark.parametrize(
    "traceparent",
    [
        PARENT,
        b"00-%b-00f067aa0ba902b7-ff" % TRACE_ID,
        b"cc-%b-00f067aa0ba902b7-01" % TRACE_ID,
        b"cc-%b-00f067aa0ba902b7-01-" % TRACE_ID,
        b"fe-%b-00f067aa0ba902b7-01-what-the-future-holds" % TRACE_ID,
    ],
)
def test_traceparent_by_the_standard_is_accepted(traceparent: bytes) -> None:
    trace = read_trace({b"traceparent": traceparent})
    assert trace.trace_id == TRACE_ID
    assert dict(trace.response_headers)[b"traceparent"] == traceparent


@pytest.mark.parametrize(
    "traceparent",
    [
        b"",
        b"ff-%b-00f067aa0ba902b7-01" % TRACE_ID,
        b"0-%b-00f067aa0ba902b7-01" % TRACE_ID,
        b"00-%b-00f067aa0ba902b7-01" % (b"0" * 32,),
        b"00-%b-%b-01" % (TRACE_ID, b"0" * 16),
        b"00-%b-00f067aa0ba902b7-01" % TRACE_ID.upper(),
        b"00-%b-00f067aa0ba902b7-1" % TRACE_ID,
        b"00-%b-00f067aa0ba902b7-01-" % TRACE_ID,
        b"00-%b-00f067aa0ba902b7-01-more" % TRACE_ID,
        b"00-%b-00f067aa0ba902b7" % TRACE_ID,
        b"00_%b_00f067aa0ba902b7_01" % TRACE_ID,
        b"cc-%b-00f067aa0ba902b7-01.more" % TRACE_ID,
        b"cc-%b-00f067aa0ba902b7-01-%b" % (TRACE_ID, b"x" * 300),
        b"%b, %b" % (PARENT, PARENT),
        b" %b" % PARENT,
        b"%b\n" % PARENT,
        b"00-%bg-00f067aa0ba902b7-01" % (TRACE_ID[:-1],),
    ],
)
def test_traceparent_against_the_standard_counts_as_not_given(traceparent: bytes) -> None:
    trace = read_trace({b"traceparent": traceparent})
    assert trace.trace_id is None
    assert b"traceparent" not in dict(trace.response_headers)
    assert trace.stored is None
