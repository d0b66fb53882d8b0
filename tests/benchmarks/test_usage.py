"""Counting what processes use."""

import os
import subprocess
import sys
from collections.abc import Iterator

import psutil

from benchmarks.usage import Meter, find_by_pid, read_memory


def test_meter_counts_only_what_is_used_after_its_start() -> None:
    meter = Meter({"us": find_by_pid(os.getpid())})
    before = meter.read()["us"]
    while meter.read()["us"] < before + 0.05:
        pass
    assert Meter({"us": find_by_pid(os.getpid())}).read()["us"] < 0.05


def test_meter_counts_processes_that_come_later_and_not_those_that_are_gone() -> None:
    found: list[psutil.Process] = []

    def find() -> Iterator[psutil.Process]:
        return iter(found)

    meter = Meter({"part": find})
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        found.append(psutil.Process(process.pid))
        while not meter.read()["part"] > 0:
            pass
        process.kill()
    assert meter.read() == {"part": 0}


def test_memory_of_a_process_is_in_megabytes() -> None:
    assert 1 < read_memory(os.getpid()) < 10_000
