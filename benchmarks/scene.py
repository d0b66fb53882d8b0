"""What every benchmark is given: how large, how long, where, and on which processors."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import Plan, Seen, run_load


@dataclass(frozen=True, slots=True)
class Scene:
    """One run of the benchmarks.

    Attributes:
        folder: for stores and logs of this run, on the disk that is measured.
        cache: for stores that are filled once.
        load_processor: where the load runs; the servers have the others.
        rounds: how often each contender runs.
        seconds: how long each time.
        stored_events: how many events the store holds in which things are looked up.
        stored_entities: how many entities these are of.
        report: takes one sentence on what begins.
    """

    folder: Path
    cache: Path
    load_processor: int
    rounds: int
    seconds: float
    stored_events: int
    stored_entities: int
    report: Callable[[str], None]

    def send(self, *ports: int, connections: int) -> Seen:
        """Send single events for a while."""
        return run_load(Plan(ports, connections, self.seconds, self.load_processor))
