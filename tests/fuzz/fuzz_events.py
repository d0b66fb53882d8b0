"""`python -m tests.fuzz.fuzz_events SECONDS`: search for what breaks the event and batch reader."""

from tests.fuzz.harness import main

if __name__ == "__main__":
    main("events")
