"""The command in this process, against a fake relay."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.auth.claims import Claims
from app.auth.tokens import TokenVerifier
from app.cli.relay import main
from app.settings import Settings
from tests.api.relay_harness import JWT_SECRET, WEBHOOK_SECRET
from tests.cli.wire import Wire, run_wire


@dataclass(frozen=True)
class Done:
    """The result of a command."""

    code: int
    out: str
    err: str


RunCommand = Callable[..., Done]


async def verify_token(token: str, *, issuer: str, audience: str) -> Claims:
    """Verify a token as a relay with these settings does."""
    verifier = TokenVerifier(
        algorithms=["HS256"],
        secret=JWT_SECRET,
        key_set=None,
        issuer=issuer,
        audience=audience,
        clock=time.time,
    )
    return await verifier.verify(token)


@pytest.fixture
def wire() -> Iterator[Wire]:
    with run_wire() as wire:
        yield wire


@pytest.fixture
def run(
    wire: Wire,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> RunCommand:
    """Run `relay …` in an empty folder, with the environment of an operator of the fake relay."""
    for name in (*Settings.model_fields, "supabase_secret_key", "relay_token"):
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("RELAY_URL", wire.url)
    monkeypatch.setenv("JWT_SECRET", JWT_SECRET)
    monkeypatch.setenv("WEBHOOK_SECRETS", WEBHOOK_SECRET)
    monkeypatch.chdir(tmp_path)

    def run_command(*arguments: str) -> Done:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        captured = capsys.readouterr()
        code = ended.value.code
        return Done(code if isinstance(code, int) else 0, captured.out, captured.err)

    return run_command
