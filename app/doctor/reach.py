"""Judging what the first request came to: reachable, a Supabase, the right key, the same time."""

from collections.abc import Mapping
from typing import Final

from app.doctor.findings import Finding, Fix, command, fine, problem, setting, unchecked
from app.doctor.inspection.reach import Obstacle, Reach

# What tokens are allowed by those who check them; a webhook's time may lie further off.
_LEEWAY_SECONDS: Final = 30.0
_URL: Final = setting("SUPABASE_URL=https://YOUR-PROJECT.supabase.co")
_WAITS: Final = "Until it answers the relay accepts events and writes none."
_NOT_SUPABASE: Final = (
    "What answers at SUPABASE_URL is not a Supabase ({detail}).",
    "It takes the project's URL, not that of the dashboard or of your app.",
    _URL,
)
_OBSTACLES: Final[Mapping[Obstacle, tuple[str, str, Fix]]] = {
    Obstacle.NAME_UNKNOWN: (
        "The host name in SUPABASE_URL is not known.",
        f"A typing error, or a deleted project. {_WAITS}",
        _URL,
    ),
    Obstacle.CERTIFICATE_REFUSED: (
        "The certificate at SUPABASE_URL is refused: {detail}.",
        "Somebody may stand in between. An authority of your own has to be made known.",
        setting("SSL_CERT_FILE=/path/to/authority.pem"),
    ),
    Obstacle.TLS_FAILED: (
        "TLS with SUPABASE_URL fails: {detail}.",
        f"Is it http, not https? {_WAITS}",
        _URL,
    ),
    Obstacle.REFUSED: ("Nothing listens at SUPABASE_URL.", _WAITS, _URL),
    Obstacle.TIMED_OUT: (
        "SUPABASE_URL does not answer in time.",
        f"A firewall, or it is overloaded. {_WAITS}",
        _URL,
    ),
    Obstacle.BROKEN: ("The connection to SUPABASE_URL breaks: {detail}.", _WAITS, _URL),
    Obstacle.PAUSED: (
        "The project is paused.",
        f"Supabase pauses projects that nobody uses. {_WAITS}",
        command("open https://supabase.com/dashboard/projects"),
    ),
    Obstacle.REDIRECTED: _NOT_SUPABASE,
    Obstacle.NOT_SUPABASE: _NOT_SUPABASE,
    Obstacle.KEY_REFUSED: (
        "Supabase refuses the relay's key.",
        "It belongs to another project, or was revoked: everything would wait.",
        setting("SUPABASE_SECRET_KEY=sb_secret_…"),
    ),
    Obstacle.FAILING: ("Supabase fails ({detail}).", _WAITS, command("relay doctor")),
}


def judge_reach(reach: Reach) -> Finding:
    """Say what stands between the relay and its Supabase."""
    if reach.obstacle is None:
        return fine("supabase", "SUPABASE_URL answers, is a Supabase and takes the key.")
    what, why, fix = _OBSTACLES[reach.obstacle]
    return problem("supabase", what.replace("{detail}", reach.detail or "no reason"), why, fix)


def judge_clock(reach: Reach) -> Finding:
    """Compare the two clocks."""
    check = "clock"
    if reach.ahead_seconds is None:
        return unchecked(
            check,
            "Supabase did not say what time it is.",
            "Signed webhooks and tokens are refused when clocks differ.",
            command("timedatectl status"),
        )
    behind = "behind" if reach.ahead_seconds > 0 else "ahead of"
    seconds = abs(reach.ahead_seconds)
    if seconds <= _LEEWAY_SECONDS:
        return fine(
            check,
            "The clocks here and there agree."
            if seconds < 2
            else f"The clock here is {seconds:.0f} s {behind} Supabase's.",
        )
    return problem(
        check,
        f"The clock of this machine is {seconds:.0f} s {behind} Supabase's.",
        "Tokens allow 30 s, webhooks 300 s, and an event from the future is refused.",
        command("timedatectl set-ntp true"),
    )
