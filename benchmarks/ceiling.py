"""A server that responds without parsing: the most that the load could reach.

`python -m benchmarks.ceiling PORT`.
"""

import sys
from typing import Final

from benchmarks.raw_server import serve, write_answer

_ACCEPTED: Final = write_answer(202, {"status": "accepted"})


def main() -> None:
    """Serve until ended."""
    serve(int(sys.argv[1]), lambda _head, _body: _ACCEPTED)


if __name__ == "__main__":
    main()
