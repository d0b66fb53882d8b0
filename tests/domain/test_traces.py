"""How the ids of a request are stored."""

import pytest

from app.domain.traces import Trace


@pytest.mark.parametrize(
    "trace",
    [Trace("req-1", None), Trace("req-1", "a" * 32), Trace("req-1", "a" * 32, "b" * 16)],
)
def test_trace_read_from_its_text_is_the_same(trace: Trace) -> None:
    assert Trace.from_text(trace.to_text()) == trace
