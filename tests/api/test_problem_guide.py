"""Every problem code is documented at `/docs/problems`."""

import re
from collections import Counter

import pytest

from app.api.problem_guide import ProblemGuide, list_problem_guides
from app.api.problems import PROBLEMS, locate_guide
from tests.api.relay_harness import RunningRelay

GUIDES = list_problem_guides()
OF_THE_FRAMEWORK = {"path-not-found", "method-not-allowed", "http-error", "internal-error"}


def test_guides_are_of_every_code_and_of_no_other() -> None:
    codes = Counter(guide.code for guide in GUIDES)
    assert codes == Counter({code for _, code in PROBLEMS.values()} | OF_THE_FRAMEWORK)


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.code)
def test_guide_says_what_is_wrong_and_what_to_do(guide: ProblemGuide) -> None:
    assert re.fullmatch(r"[45](\d\d|xx)", guide.status)
    for sentence in (guide.meaning, guide.remedy):
        assert sentence[0].isupper()
        assert sentence.endswith(".")


@pytest.mark.parametrize("status", ["408", "429", "500", "503"])
def test_guide_of_a_temporary_status_says_so(status: str) -> None:
    guides = [guide for guide in GUIDES if guide.status == status]
    assert guides
    for guide in guides:
        assert guide.is_temporary
        assert "again" in guide.remedy


def test_guide_of_another_status_is_not_temporary() -> None:
    kept = [guide for guide in GUIDES if guide.status not in ("408", "429", "500", "503")]
    assert not any(guide.is_temporary for guide in kept)


async def test_type_of_every_problem_leads_to_its_section(relay: RunningRelay) -> None:
    for guide in GUIDES:
        path, _, anchor = locate_guide(guide.code).partition("#")
        response = await relay.http.get(path)
        assert response.status_code == 200
        assert f'<section class="problem" id="{anchor}">' in response.text


async def test_type_of_a_response_resolves_against_its_url(relay: RunningRelay) -> None:
    response = await relay.http.get("/events/evt_1")
    guide = await relay.http.get(str(response.url.join(response.json()["type"])))
    assert guide.status_code == 200
    assert guide.url.fragment == "unauthenticated"
    assert "No valid signature or token." in guide.text
