"""Signing in and out: by a real OpenID Connect provider, by a link that works once, and how guessing ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from sqlalchemy import select

from audit.log.entries import Entry
from audit.questions.query import Filters, search
from gateway.console.door import DOOR_COOKIE, FAILURES, SESSION_COOKIE, WINDOW, Attempts
from gateway.console.oidc import Door, Provider, SignInError
from gateway.console.sessions import IDLE, LONGEST, Identity, SessionError, Sessions, role
from gateway.storage.console_tables import sessions
from tests import parts
from tests.gateway.console.conftest import NOW, Running, Visitor, World, hidden, redeem, serving
from tests.gateway.endless import endless

oidc = parts.module("oidc_provider_mock")
USERS = (
    oidc.User(sub="aino", claims={"roles": ["dpo"], "name": "Aino Esimerkki"}),
    oidc.User(sub="olli", claims={"roles": "ops", "name": "Olli Esimerkki"}),
    oidc.User(sub="nobody", claims={"roles": ["cook"]}),
    oidc.User(sub="kotka", claims={"roles": ["dpo"], "member": "FI-DEMO/MUN/9000003-8"}),
)
ROLES = {"officer": ["dpo"], "operator": ["ops"]}


@contextmanager
def with_provider(world: World, member_claim: str | None = None) -> Iterator[Running]:
    world.now = datetime.now(UTC)  # the provider dates its tokens by its own clock
    with oidc.run_server_in_thread(user_claims=USERS, require_nonce=True) as server:

        def provider(_address: str) -> Provider:
            issuer = f"http://localhost:{server.server_port}"
            return Provider(issuer, "console", "secret", roles=ROLES, member_claim=member_claim)

        with serving(world, provider=provider) as running:
            yield running


def leave(client: Visitor) -> httpx.URL:
    """Go to the provider; its address with everything that the console asks."""
    away = client.get("/sign-in/provider")
    assert away.status_code == 303
    return httpx.URL(away.headers["location"])


def consent(at: httpx.URL, sub: str) -> httpx.URL:
    """Sign in at the provider; the address that the browser is sent back to."""
    answer = httpx.post(at, data={"sub": sub}, timeout=None)
    assert answer.status_code == 302, answer.text
    return httpx.URL(answer.headers["location"])


def sign_in_by_provider(running: Running, sub: str) -> tuple[Visitor, httpx.Response]:
    client = running.client()
    back = consent(leave(client), sub)
    return client, client.get(back.raw_path.decode())


def read_sign_ins(world: World) -> list[Entry]:
    with world.engine.connect() as connection:
        found = search(connection, Filters(types=("console-read",)), order="oldest", limit=1000).found
    return [item.entry for item in found if item.entry.detail.get("page") == "sign-in"]


def test_an_officer_signs_in_at_the_organisations_own_provider(world: World) -> None:
    with with_provider(world) as running:
        client, answer = sign_in_by_provider(running, "aino")

        assert answer.status_code == 200
        page = client.get("/")
        assert "Aino Esimerkki" in page.text
        assert "data protection officer" in page.text
        entry = read_sign_ins(world)[-1]
        assert (entry.outcome, entry.detail["how"], entry.detail["role"]) == ("success", "provider", "officer")
        assert entry.agents.user is not None
        assert "aino" not in str(entry.to_dict()).lower()


def test_the_provider_is_asked_with_pkce_state_and_nonce_and_never_twice_the_same(world: World) -> None:
    with with_provider(world) as running:
        first, second = leave(running.client()), leave(running.client())

        asked = parse_qs(urlsplit(str(first)).query)
        assert asked["code_challenge_method"] == ["S256"]
        assert asked["response_type"] == ["code"]
        for name in ("state", "nonce", "code_challenge"):
            assert len(asked[name][0]) >= 43
            assert asked[name] != parse_qs(urlsplit(str(second)).query)[name]


def test_an_answer_counts_only_in_the_browser_that_asked(world: World) -> None:
    with with_provider(world) as running:
        attacker, victim = running.client(), running.client()
        back = consent(leave(attacker), "aino")
        leave(victim)

        answer = victim.get(back.raw_path.decode())

        assert answer.status_code == 403
        assert victim.get("/").status_code == 303
        assert read_sign_ins(world)[-1].detail["how"] == "answer"


@pytest.mark.parametrize("change", ["state", "code"])
def test_an_answer_that_was_changed_signs_nobody_in(world: World, change: str) -> None:
    with with_provider(world) as running:
        client = running.client()
        back = consent(leave(client), "aino").copy_set_param(change, "x" * 64)

        answer = client.get(back.raw_path.decode())

        assert answer.status_code == 403
        assert SESSION_COOKIE not in client.kept


def test_a_code_is_good_for_one_sign_in(world: World) -> None:
    with with_provider(world) as running:
        client = running.client()
        back = consent(leave(client), "aino").raw_path.decode()
        door = client.kept[DOOR_COOKIE]
        assert client.get(back).status_code == 200

        again = running.client()
        again.kept[DOOR_COOKIE] = door

        assert again.get(back).status_code == 403


def test_claims_give_the_role_and_no_claim_gives_none(world: World) -> None:
    with with_provider(world) as running:
        operator, answer = sign_in_by_provider(running, "olli")
        assert answer.status_code == 200
        assert operator.get("/people").status_code == 403

        _, refused = sign_in_by_provider(running, "nobody")
        assert refused.status_code == 403
        assert read_sign_ins(world)[-1].detail["how"] == "no-role"


def test_where_members_are_told_apart_nobody_comes_in_without_one(world: World) -> None:
    with with_provider(world, member_claim="member") as running:
        assert sign_in_by_provider(running, "aino")[1].status_code == 403
        assert sign_in_by_provider(running, "kotka")[1].status_code == 200


def test_a_provider_that_does_not_answer_is_told_apart_from_a_refusal(world: World) -> None:
    with serving(world, provider=lambda _address: Provider("http://localhost:9", "console", roles=ROLES)) as running:
        answer = running.client().get("/sign-in/provider")

        assert answer.status_code == 403
        assert "does not answer" in answer.text


async def test_answer_of_the_provider_that_never_ends_is_left_at_the_limit() -> None:
    async with endless() as provider:
        with pytest.raises(SignInError, match="too long") as caught:
            await Door(Provider(provider.address, "console"), "http://localhost/back").away("cookie")

    assert caught.value.code == "provider"


def test_a_link_works_once(running: Running) -> None:
    token = running.world.link()
    assert redeem(running.client(), running.address, token).status_code == 200

    again = redeem(running.client(), running.address, token)

    assert again.status_code == 403
    assert "used before" in again.text


def test_opening_a_link_does_not_use_it_up(running: Running) -> None:
    token = running.world.link()
    for _ in range(3):
        running.client().get(f"/link/{token}")

    assert redeem(running.client(), running.address, token).status_code == 200


def test_a_link_ends_with_its_time(running: Running) -> None:
    token = running.world.link(valid=timedelta(minutes=15))
    running.world.now += timedelta(minutes=15)

    assert redeem(running.client(), running.address, token).status_code == 403


def test_a_session_planted_before_sign_in_is_never_the_one_after(running: Running) -> None:
    attacker = running.enter()
    planted = attacker.kept[SESSION_COOKIE]
    victim = running.client()
    victim.kept[SESSION_COOKIE] = planted

    assert redeem(victim, running.address, running.world.link()).status_code == 200

    assert victim.kept[SESSION_COOKIE] != planted
    assert attacker.get("/").status_code == 303, "the planted session must end at the sign-in"


def test_a_made_up_session_cookie_is_not_taken_over(running: Running) -> None:
    client = running.client()
    client.kept[SESSION_COOKIE] = "made-up"

    assert client.get("/").headers["location"] == "/sign-in"


def test_cookies_are_for_this_site_only_and_out_of_reach_of_scripts(running: Running) -> None:
    client = running.client()
    answer = redeem(client, running.address, running.world.link())

    header = next(one for one in answer.headers.get_list("set-cookie") if one.startswith(SESSION_COOKIE))
    for mark in ("Secure", "HttpOnly", "SameSite=strict", "Path=/"):
        assert mark in header
    assert "Domain" not in header
    assert SESSION_COOKIE.startswith("__Host-")


def test_the_database_holds_no_cookie_that_opens_a_session(running: Running) -> None:
    client = running.enter()

    with running.world.engine.connect() as connection:
        rows = connection.execute(select(sessions)).all()

    assert rows
    assert client.kept[SESSION_COOKIE] not in repr(rows)


def test_signing_out_ends_the_session_for_good(running: Running) -> None:
    client = running.enter()
    cookie = client.kept[SESSION_COOKIE]
    token = hidden(client.get("/"))

    answer = client.post("/sign-out", data={"csrf": token}, headers={"origin": running.address})

    assert answer.headers["location"] == "/sign-in?out=1"
    client.kept[SESSION_COOKIE] = cookie
    assert client.get("/").status_code == 303


@pytest.mark.parametrize(("pause", "signed_in"), [(IDLE - timedelta(seconds=1), True), (IDLE, False)])
def test_an_idle_session_ends(running: Running, pause: timedelta, signed_in: bool) -> None:
    client = running.enter()
    running.world.now += pause

    assert (client.get("/").status_code == 200) is signed_in


def test_no_session_outlives_a_working_day(world: World) -> None:
    known = Sessions(world.engine)
    token = known.open(Identity("u", "Aino", "officer"), NOW)
    now = NOW
    while now + timedelta(minutes=20) < NOW + LONGEST:
        now += timedelta(minutes=20)
        assert known.find(token, now) is not None

    assert known.find(token, NOW + LONGEST) is None


def test_what_was_tried_in_vain_waits_and_says_when_to_come_back_and_nobody_else_does(running: Running) -> None:
    client = running.client()
    for _ in range(FAILURES):
        assert redeem(client, running.address, "guess").status_code == 403

    stopped = redeem(client, running.address, "guess")

    assert stopped.status_code == 429
    assert 0 < int(stopped.headers["retry-after"]) <= WINDOW.total_seconds() + 1
    # From the same address, which may be that of a whole organisation.
    assert redeem(running.client(), running.address, running.world.link()).status_code == 200
    running.world.now += WINDOW + timedelta(seconds=1)
    assert redeem(client, running.address, "guess").status_code == 403


def test_what_any_page_can_make_a_browser_send_locks_nobody_out(running: Running) -> None:
    for _ in range(3 * FAILURES):
        assert running.client().get("/sign-in/answer?x").status_code == 403

    assert redeem(running.client(), running.address, running.world.link()).status_code == 200
    refused = [entry for entry in read_sign_ins(running.world) if entry.outcome == "refused"]
    assert len(refused) == FAILURES, "what comes in numbers is summed"
    running.world.now += WINDOW
    running.client().get("/sign-in/answer?x")
    assert read_sign_ins(running.world)[-1].detail["count"] == 2 * FAILURES + 1


def test_guesses_are_on_record(running: Running) -> None:
    redeem(running.client(), running.address, "guess")

    entry = read_sign_ins(running.world)[-1]

    assert (entry.outcome, entry.detail["how"], entry.agents.user) == ("refused", "link", None)


def test_attempts_of_one_thing_do_not_shut_out_another() -> None:
    attempts = Attempts(failures=3, window=timedelta(minutes=10))
    for _ in range(3):
        attempts.fail("one", NOW)

    assert attempts.wait("one", NOW) > 0
    assert attempts.wait("other", NOW) == 0


def test_a_sign_in_form_from_elsewhere_signs_nobody_in(running: Running) -> None:
    token = running.world.link()
    client = running.client()
    page = client.get(f"/link/{token}")
    form = {"token": token, "csrf": hidden(page)}

    elsewhere = client.post("/link", data=form, headers={"origin": "https://evil.example"})
    other_browser = running.client().post("/link", data=form, headers={"origin": running.address})

    assert (elsewhere.status_code, other_browser.status_code) == (403, 403)


def test_an_unknown_role_is_an_error() -> None:
    with pytest.raises(SessionError, match="not a role"):
        role("root")
