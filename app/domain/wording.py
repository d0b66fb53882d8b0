"""Writes durations and numbers for people, in the command and in the console."""


def write_duration(seconds: float) -> str:
    """Write a duration in its largest unit: 250 ms, 4.2 s, 3 min, 5 h, 2 d."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def count(number: int, noun: str) -> str:
    """Write a number and its noun: 1 event, 2,000 events, 1 entity, 3 entities."""
    if number != 1:
        noun = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number:,} {noun}"
