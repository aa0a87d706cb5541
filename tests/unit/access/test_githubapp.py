"""The JWT that an app signs, and every answer that the API may give."""

from __future__ import annotations

import json

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from vcsproxy import errors
from vcsproxy.access import githubapp

NOW = 1_800_000_000.7


def test_a_jwt_says_who_we_are_for_less_than_ten_minutes() -> None:
    key = rsa.generate_private_key(65537, 2048)
    app = githubapp.App("12", "34", "https://api.test/v3/", key)
    assert app.url == "https://api.test/v3/app/installations/34/access_tokens"
    signed = app.jwt(NOW)
    assert jwt.get_unverified_header(signed.reveal()) == {"alg": "RS256", "typ": "JWT"}
    claims = jwt.decode(
        signed.reveal(), key.public_key(), ["RS256"], options={"verify_exp": False, "verify_iat": False}
    )
    assert claims == {"iss": "12", "iat": 1_799_999_940, "exp": 1_800_000_540}
    assert signed.reveal() not in repr((app, signed))


def test_a_token() -> None:
    found = githubapp.token(201, b'{"token": "ghs_x", "expires_at": "2027-01-15T09:00:00Z", "permissions": {}}', "app")
    assert (found.value.reveal(), found.expires) == ("ghs_x", 1_800_003_600.0)
    assert "ghs_x" not in repr(found)


BODIES = {
    "no JSON": b"<html>",
    "no object": b"[]",
    "null": b"null",
    "no token": b'{"expires_at": "2027-01-15T08:00:00Z"}',
    "no end": b'{"token": "hunter2"}',
    "a number": b'{"token": 2, "expires_at": "2027-01-15T08:00:00Z"}',
    "null token": b'{"token": null, "expires_at": "2027-01-15T08:00:00Z"}',
    "empty token": b'{"token": "", "expires_at": "2027-01-15T08:00:00Z"}',
    "a header in it": b'{"token": "hunter2\\r\\nX: y", "expires_at": "2027-01-15T08:00:00Z"}',
    "no time": b'{"token": "hunter2", "expires_at": "tomorrow"}',
    "time of nowhere": b'{"token": "hunter2", "expires_at": "2027-01-15T08:00:00"}',
    "a number as time": b'{"token": "hunter2", "expires_at": 1800003600}',
    "deep": b"[" * 100_000,
    "not UTF-8": b'{"token": "\xff"}',
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_an_answer_that_makes_no_sense(body: bytes) -> None:
    with pytest.raises(errors.UpstreamFailed, match="credential app has no token that makes sense") as caught:
        githubapp.token(201, body, "app")
    assert type(caught.value) is errors.UpstreamFailed
    assert "hunter2" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize(
    ("status", "error", "message", "hint"),
    [
        (401, errors.AccessDenied, "does not accept the app", "app_id, the app's private key, and the clock"),
        (403, errors.AccessDenied, "gives no token", "suspended"),
        (404, errors.AccessDenied, "no such installation", "installation_id"),
        (429, errors.HostBusy, "HTTP 429", "patience"),
        (500, errors.HostUnreachable, "HTTP 500", "try again"),
        (503, errors.HostUnreachable, "HTTP 503", "try again"),
        (200, errors.UpstreamFailed, "HTTP 200", "api"),
        (302, errors.UpstreamFailed, "HTTP 302", "api"),
        (422, errors.UpstreamFailed, "HTTP 422", "api"),
    ],
)
def test_every_refusal_names_the_credential_and_the_cure(
    status: int, error: type[errors.UpstreamFailed], message: str, hint: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        githubapp.token(status, b'{"token": "hunter2"}', "my-app")
    assert type(caught.value) is error
    assert "my-app" in caught.value.message
    assert hint in caught.value.hint
    assert "hunter2" not in caught.value.message + caught.value.hint


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9), st.lists, max_leaves=4
)


@given(
    st.integers(100, 599),
    st.binary(max_size=60)
    | st.fixed_dictionaries({"token": ANY, "expires_at": ANY | st.datetimes().map(str)}).map(
        lambda d: json.dumps(d).encode()
    ),
)
def test_any_answer_is_a_token_or_one_of_our_errors(status: int, body: bytes) -> None:
    try:
        found = githubapp.token(status, body, "app")
    except errors.UpstreamFailed as err:
        assert "app" in err.message  # noqa: PT017 - it may well be a token
    else:
        assert found.value
