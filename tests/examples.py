"""How many generated examples a property is tried with; `make properties` tries more."""

import os
from typing import Final

from hypothesis import HealthCheck, settings

EXAMPLES: Final = int(os.environ.get("EXAMPLES", "25"))
"""Of a property over a real store or a whole relay, where each example costs milliseconds."""

with_shared_fixtures = settings(
    max_examples=EXAMPLES,
    deadline=None,
    # One store or relay serves all examples of a test: opening one costs more than an example.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
