"""A sealed token is opened by its code alone."""

import pytest
from cryptography.fernet import InvalidToken

from app.auth.link_codes import digest_code, make_code, open_token, seal_token


def test_code_opens_its_token() -> None:
    code = make_code()
    digest, content = seal_token(code, "the.token")
    assert digest == digest_code(code)
    assert open_token(code, content) == "the.token"


def test_sealed_token_tells_neither_the_code_nor_the_token() -> None:
    code = make_code()
    sealed = b"".join(seal_token(code, "the.token"))
    assert code.encode() not in sealed
    assert b"the.token" not in sealed


def test_other_code_does_not_open_it() -> None:
    _, content = seal_token(make_code(), "the.token")
    with pytest.raises(InvalidToken):
        open_token(make_code(), content)


def test_codes_differ() -> None:
    assert len({make_code() for _ in range(100)}) == 100
