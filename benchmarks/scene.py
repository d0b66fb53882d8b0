"""What every benchmark is given: how large, how long, where, and on which processors."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from benchmarks.figures import run_in_turn
from benchmarks.load import Plan, Seen, run_load

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Scene:
    """One run of the benchmarks.

    Attributes:
        folder: for stores and logs of this run, on the disk that is measured.
        cache: for stores that are filled once.
        load_processor: where the load runs; the servers have the others.
        two_processors: for what is measured on two: the load's, and one of the servers'.
        rounds: how often each contender runs.
        seconds: how long each time.
        is_quick: only to see that all of it runs.
        stored_events: how many events the store holds in which things are looked up.
        stored_entities: how many entities these are of.
        backlog_entities: how many are pending when a backlog is drained.
        report: takes one sentence on what begins.
    """

    folder: Path
    cache: Path
    load_processor: int
    two_processors: frozenset[int]
    rounds: int
    seconds: float
    is_quick: bool
    stored_events: int
    stored_entities: int
    backlog_entities: int
    report: Callable[[str], None]

    def send(
        self,
        *ports: int,
        connections: int,
        rate: float | None = None,
        batch_events: int | None = None,
        random_ids: bool = False,
    ) -> Seen:
        """Send new memberships for a while: one after the other, or at a rate."""
        return run_load(
            Plan(
                ports,
                connections,
                self.seconds,
                self.load_processor,
                rate=rate,
                batch_events=batch_events,
                random_ids=random_ids,
            )
        )

    def run_in_turn(self, contenders: Mapping[str, Callable[[], T]]) -> dict[str, list[T]]:
        """Run contenders in turn, as often as this run has rounds."""
        return run_in_turn(contenders, self.rounds, warm_up=not self.is_quick)
