"""A project that allows public channels is found; one that cannot be asked is skipped."""

from typing import Any

import pytest

from app.doctor.catalog import read_catalog
from app.doctor.findings import Status
from app.doctor.public_channels import check_public_channels
from tests.doctor.harness import open_project
from tests.doctor.hosted import PRIVATE_ONLY, HostedServer

JOINED = {"status": "ok", "response": {"postgres_changes": []}}
LIMITED = {"status": "error", "response": {"reason": "ClientJoinRateLimitReached: Too many joins"}}


@pytest.mark.parametrize(
    ("reply", "status", "text"),
    [
        (PRIVATE_ONLY, Status.OK, "allows private channels only"),
        (JOINED, Status.PROBLEM, "Realtime allows public channels"),
        (LIMITED, Status.SKIPPED, "ClientJoinRateLimitReached"),
        (None, Status.SKIPPED, "Realtime does not answer by long polling"),
        ({}, Status.SKIPPED, "no reason given"),
    ],
)
async def test_public_channels_are_judged_by_the_reply_to_a_join(
    hosted: HostedServer, reply: dict[str, Any] | None, status: Status, text: str
) -> None:
    hosted_project = hosted.make_project()
    hosted_project.join_reply = reply

    async with open_project(hosted_project) as project:
        finding = await check_public_channels(project, None)

    assert (finding.status, finding.needs_optional_key) == (status, status is Status.SKIPPED)
    assert text in finding.what


async def test_public_channels_need_the_key_of_apps(hosted: HostedServer) -> None:
    async with open_project(hosted.make_project(), app_key=None) as project:
        finding = await check_public_channels(project, None)

    assert finding.status is Status.SKIPPED
    assert finding.fix is not None
    assert "--publishable-key" in finding.fix.text


async def test_project_without_realtime_has_no_public_channels(hosted: HostedServer) -> None:
    hosted_project = hosted.make_project()
    hosted_project.join_reply = JOINED
    hosted_project.run("drop schema realtime cascade")
    catalog = read_catalog(hosted_project.db_url, ["public", "realtime"])

    async with open_project(hosted_project) as project:
        finding = await check_public_channels(project, catalog)

    assert finding.status is Status.OK
