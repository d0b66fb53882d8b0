"""A stand-in for Supabase that fences requests and accepts every row without looking at it.

`python -m benchmarks.accepting_supabase PORT`. It belongs to one relay: a second one would claim
the fence from the first, and each would make the other's requests stale.
"""

import re
import sys
from typing import Final

from benchmarks.raw_server import serve, write_answer

# Both stand before the rows, in JSON text that is a string of JSON.
_FENCE: Final = re.compile(rb'\\"epoch\\": ?(\d+), ?\\"sequence\\": ?(\d+)')


class AcceptingSupabase:
    """Answers `relay_claim` and `relay_apply`."""

    def __init__(self) -> None:
        self._epoch = 0
        self._sequence = 0

    def answer(self, head: bytes, body: bytes) -> bytes:
        """Answer one request."""
        path = head.split(b" ", 2)[1]
        if path.endswith(b"/rpc/relay_claim"):
            self._epoch += 1
            self._sequence = 0
            return write_answer(200, {"protocol": 1, "epoch": self._epoch})
        fence = _FENCE.search(body) if path.endswith(b"/rpc/relay_apply") else None
        if fence is None:
            return write_answer(404, {"code": "PGRST202", "message": "no such function"})
        epoch, sequence = map(int, fence.groups())
        if epoch != self._epoch or sequence <= self._sequence:
            return write_answer(409, {"code": "PT409", "message": "stale request"})
        self._sequence = sequence
        return write_answer(200, {"sequence": sequence, "failures": [], "not_tried": []})


def main() -> None:
    """Serve until ended."""
    serve(int(sys.argv[1]), AcceptingSupabase().answer)


if __name__ == "__main__":
    main()
