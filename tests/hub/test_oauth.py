"""Signing in without a token: the real client on a device, a program by the browser, and jobs elsewhere."""

from __future__ import annotations

import base64
import http.server
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError
from hypothesis import given
from hypothesis import strategies as st

from lilong.app import build
from lilong.floors.hub.rules import jws
from lilong.floors.hub.rules import oauth as rules
from lilong.floors.hub.service import oauth, oidc
from lilong.ground.access import SYSTEM, Actor, within
from lilong.ground.house import House
from lilong.ground.web import SESSION_COOKIE
from tests.hub.conftest import LANTERN, answering, hub_house

TERMINAL = oauth.TERMINAL.id
BACK = "http://127.0.0.1/callback"


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[House, str]]:
    """A house with its pages, on a socket; addresses of this machine are allowed to be asked for keys."""
    folder = tmp_path_factory.mktemp("oauth")
    (folder / "lilong.toml").write_text('import_hosts = "127.0.0.1"')
    house = hub_house(folder)
    with answering(build(house)) as url:
        yield house, url
    house.close()


@pytest.fixture
def browser(at: tuple[House, str]) -> Iterator[Callable[[str], httpx.Client]]:
    """A browser in which this user is signed in."""
    house, url = at
    opened: list[httpx.Client] = []

    def made(user: str) -> httpx.Client:
        secret = house.db.write(
            lambda tx: house.access.add_token(tx, Actor(user), user, "session", kind="session", lives=timedelta(hours=1))
        )[1]
        opened.append(httpx.Client(base_url=url, cookies={SESSION_COOKIE: secret}, headers={"accept": "text/html", "origin": url}))
        return opened[-1]

    oauth._TYPING = oauth.Limiter(1000, 600.0)
    yield made
    for each in opened:
        each.close()


def ask(url: str, **form: str) -> tuple[int, dict[str, Any]]:
    answer = httpx.post(f"{url}/oauth/token", data=form)
    return answer.status_code, answer.json()


# --- on a device ----------------------------------------------------------------------------------------------------------


def test_the_real_command_signs_in_and_works(at: tuple[House, str], browser: Callable[[str], httpx.Client], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setattr(oauth, "INTERVAL", 1)
    _, url = at
    home = {
        **{k: v for k, v in os.environ.items() if not k.startswith("HF_")},
        "HF_ENDPOINT": url,
        "HF_HOME": str(tmp_path),
        "PYTHONUNBUFFERED": "1",
    }
    hf = [str(Path(sys.executable).parent / "hf")]
    process = subprocess.Popen(
        [*hf, "auth", "login"], env=home, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    said = ""
    while "enter the code" not in said.lower():
        line = process.stdout.readline()
        assert line, said
        said += line
    address = re.search(r"(http\S+/oauth/device\S*)", said)
    assert address is not None, said
    mei = browser("mei")
    page = mei.get(address[1])
    code = re.search(r'name="user_code" value="([A-Z-]+)"', page.text)
    assert page.status_code == 200 and code is not None and code[1] in address[1]
    assert mei.post("/oauth/device/decide", data={"user_code": code[1], "decision": "approve"}).status_code == 200
    rest = process.communicate(timeout=60)[0]
    assert process.returncode == 0, said + rest
    assert "Login successful" in rest

    def run(*words: str) -> str:
        return subprocess.run([*hf, *words], env=home, capture_output=True, text=True, check=True).stdout

    assert "mei" in run("auth", "whoami")
    (tmp_path / "notes.txt").write_text("tide")
    run("repos", "create", f"{LANTERN}/by-device")
    before = run("auth", "token").split()[0]
    kept = tmp_path / "stored_tokens"
    kept.write_text(re.sub(r"expires_at = \d+", f"expires_at = {int(time.time()) + 3600}", kept.read_text()))
    assert run("auth", "token").split()[0] != before, "the client refreshes what is about to end"
    assert HfApi(endpoint=url, token=run("auth", "token").split()[0]).model_info(f"{LANTERN}/by-device").id == f"{LANTERN}/by-device"


def begun(url: str) -> dict[str, Any]:
    answer = httpx.post(f"{url}/oauth/device", data={"client_id": TERMINAL})
    assert answer.status_code == 200 and answer.headers["cache-control"] == "no-store"
    found: dict[str, Any] = answer.json()
    return found


def test_a_device_code_waits_works_once_and_ends(at: tuple[House, str], browser: Callable[[str], httpx.Client]) -> None:
    house, url = at
    device = begun(url)
    form = {"grant_type": "urn:ietf:params:oauth:grant-type:device_code", "device_code": device["device_code"], "client_id": TERMINAL}
    assert ask(url, **form) == (400, {"error": "authorization_pending", "error_description": "The user has not decided yet."})
    assert ask(url, **form)[1]["error"] == "slow_down"
    assert (
        browser("jun").post("/oauth/device/decide", data={"user_code": device["user_code"].lower(), "decision": "approve"}).status_code
        == 200
    )
    status, given_ = ask(url, **form)
    assert status == 200 and given_["token_type"] == "bearer" and given_["expires_in"] > 24 * 3600
    assert HfApi(endpoint=url, token=given_["access_token"]).whoami()["name"] == "jun"
    assert ask(url, **form)[1]["error"] == "invalid_grant"
    kept = house.db.read(
        lambda tx: str(
            [
                dict(row)
                for table in ("hub_oauth_devices", "hub_oauth_refreshes", "ground_tokens")
                for row in tx.rows(f"SELECT * FROM {table}")
            ]
        )
    )
    for secret in (device["device_code"], device["user_code"].replace("-", ""), given_["access_token"], given_["refresh_token"]):
        assert secret not in kept


def test_a_device_that_is_refused_hears_so_and_a_stranger_hears_nothing(
    at: tuple[House, str], browser: Callable[[str], httpx.Client]
) -> None:
    _, url = at
    device = begun(url)
    form = {"grant_type": "urn:ietf:params:oauth:grant-type:device_code", "device_code": device["device_code"], "client_id": TERMINAL}
    assert httpx.post(f"{url}/oauth/device/decide", data={"user_code": device["user_code"], "decision": "approve"}).status_code == 401
    foreign = browser("jun")
    foreign.headers["origin"] = "https://elsewhere.example"
    assert foreign.post("/oauth/device/decide", data={"user_code": device["user_code"], "decision": "approve"}).status_code == 403
    assert browser("jun").post("/oauth/device/decide", data={"user_code": device["user_code"], "decision": "deny"}).status_code == 200
    assert ask(url, **form)[1]["error"] == "access_denied"
    assert ask(url, **{**form, "device_code": "made-up"})[1]["error"] == "invalid_grant"
    assert ask(url, **{**form, "client_id": "made-up"})[0] == 401


def test_whoever_is_not_signed_in_is_asked_to_and_comes_back(at: tuple[House, str]) -> None:
    answer = httpx.get(f"{at[1]}/oauth/device?user_code=BCDF-GHJK", headers={"accept": "text/html"})
    assert answer.status_code == 303
    assert parse_qs(urlsplit(answer.headers["location"]).query)["next"] == ["/oauth/device?user_code=BCDF-GHJK"]


def test_codes_cannot_be_guessed_by_trying(
    at: tuple[House, str], browser: Callable[[str], httpx.Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    jun = browser("jun")
    monkeypatch.setattr(oauth, "_TYPING", oauth.Limiter(10, 600.0))
    answers = [jun.get("/oauth/device?user_code=BBBB-BBBB").status_code for _ in range(12)]
    assert answers == [404] * 10 + [422] * 2


def test_refreshing_rotates_and_a_stolen_refresh_token_ends_the_session(at: tuple[House, str]) -> None:
    house, url = at
    first = house.db.write(lambda tx: oauth._give(house, tx, oauth.TERMINAL, "jun", rules.EVERYTHING, "consent-a"))
    form = {"grant_type": "refresh_token", "client_id": TERMINAL}
    second = ask(url, **form, refresh_token=first.refresh_token)[1]
    assert HfApi(endpoint=url, token=second["access_token"]).whoami()["name"] == "jun"
    again = ask(url, **form, refresh_token=first.refresh_token)
    assert again[0] == 200, "an answer that was lost must not end the session"
    house.db.write(lambda tx: tx.run("UPDATE hub_oauth_refreshes SET used_at = '2020-01-01T00:00:00.000000Z' WHERE used_at IS NOT NULL"))
    assert ask(url, **form, refresh_token=first.refresh_token)[1]["error"] == "invalid_grant"
    assert ask(url, **form, refresh_token=second["refresh_token"])[1]["error"] == "invalid_grant"
    with pytest.raises(HfHubHTTPError, match="Invalid user token"):
        HfApi(endpoint=url, token=second["access_token"]).whoami()


def test_a_token_that_its_user_revoked_is_not_refreshed(at: tuple[House, str]) -> None:
    house, url = at
    given_ = house.db.write(lambda tx: oauth._give(house, tx, oauth.TERMINAL, "jun", rules.EVERYTHING, "consent-b"))
    token = house.db.read(lambda tx: house.access.authenticate(tx, given_.access_token)).token
    house.db.write(lambda tx: house.access.revoke_token(tx, Actor("jun"), token or ""))
    assert ask(url, grant_type="refresh_token", client_id=TERMINAL, refresh_token=given_.refresh_token)[1]["error"] == "invalid_grant"


# --- by the browser -------------------------------------------------------------------------------------------------------


VERIFIER = "a-verifier-of-more-than-forty-three-characters-0123"


def program(house: House, *, public: bool = True) -> oauth.NewClient:
    return oauth.add_client(house, SYSTEM, "Tide Board", (BACK, "https://board.example/back"), public=public)


def query(client: str, **more: str) -> dict[str, str]:
    asked = {
        "response_type": "code",
        "client_id": client,
        "redirect_uri": "http://127.0.0.1:4321/callback",
        "scope": "openid profile read-repos",
        "state": "s t",
    }
    return {**asked, "code_challenge": rules.challenge_of(VERIFIER), "code_challenge_method": "S256", "nonce": "n-1", **more}


def agreed(jun: httpx.Client, asked: dict[str, str], decision: str = "approve") -> dict[str, str]:
    page = jun.get("/oauth/authorize?" + urlencode(asked))
    assert page.status_code == 200, page.text
    assert "form-action 'self' http://127.0.0.1:4321" in page.headers["content-security-policy"]
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page.text.split("/oauth/authorize/decide")[1]))
    answer = jun.post("/oauth/authorize/decide", data={**fields, "decision": decision})
    assert answer.status_code == 303 and answer.headers["location"].startswith("http://127.0.0.1:4321/callback?")
    return {key: values[0] for key, values in parse_qs(urlsplit(answer.headers["location"]).query).items()}


def test_a_program_gets_what_the_user_agreed_to_and_no_more(at: tuple[House, str], browser: Callable[[str], httpx.Client]) -> None:
    house, url = at
    client = program(house)
    back = agreed(browser("jun"), query(client.id))
    assert back["state"] == "s t" and back["iss"] == url
    redeem = {
        "grant_type": "authorization_code",
        "client_id": client.id,
        "code": back["code"],
        "redirect_uri": "http://127.0.0.1:4321/callback",
    }
    status, given_ = ask(url, **redeem, code_verifier=VERIFIER)
    assert status == 200 and given_["scope"] == "openid profile read-repos"
    described = httpx.get(f"{url}/.well-known/openid-configuration").json()
    keys = jwt.PyJWKClient(described["jwks_uri"])
    claims = jwt.decode(
        given_["id_token"], keys.get_signing_key_from_jwt(given_["id_token"]).key, ["ES256"], audience=client.id, issuer=url
    )
    assert (claims["sub"], claims["nonce"], claims["orgs"][0]["preferred_username"]) == ("jun", "n-1", LANTERN)
    info = httpx.get(described["userinfo_endpoint"], headers={"authorization": f"Bearer {given_['access_token']}"}).json()
    assert info["preferred_username"] == "jun" and "email" not in info
    api = HfApi(endpoint=url, token=given_["access_token"])
    assert api.whoami()["auth"]["accessToken"]["role"] == "read"
    house.db.write(lambda tx: tx.run("UPDATE ground_users SET email = 'jun@lantern.example' WHERE name = 'jun'"))
    assert HfApi(endpoint=url, token=given_["access_token"]).whoami()["email"] is None
    with pytest.raises(HfHubHTTPError, match="403"):
        api.create_repo(f"{LANTERN}/not-by-this-program")


def test_a_code_that_comes_twice_ends_what_the_first_one_gave(at: tuple[House, str], browser: Callable[[str], httpx.Client]) -> None:
    house, url = at
    client = program(house, public=False)
    back = agreed(browser("jun"), query(client.id))
    form = {
        "grant_type": "authorization_code",
        "code": back["code"],
        "redirect_uri": "http://127.0.0.1:4321/callback",
        "code_verifier": VERIFIER,
    }
    assert ask(url, **form, client_id=client.id, client_secret="wrong")[0] == 401
    given_ = httpx.post(f"{url}/oauth/token", data=form, auth=(client.id, client.secret or ""))
    assert given_.status_code == 200, given_.text
    again = httpx.post(f"{url}/oauth/token", data=form, auth=(client.id, client.secret or ""))
    assert again.json()["error"] == "invalid_grant"
    assert httpx.get(f"{url}/oauth/userinfo", headers={"authorization": f"Bearer {given_.json()['access_token']}"}).status_code == 401


def test_without_the_verifier_a_stolen_code_is_worth_nothing(at: tuple[House, str], browser: Callable[[str], httpx.Client]) -> None:
    house, url = at
    client = program(house)
    back = agreed(browser("jun"), query(client.id))
    form = {
        "grant_type": "authorization_code",
        "client_id": client.id,
        "code": back["code"],
        "redirect_uri": "http://127.0.0.1:4321/callback",
    }
    assert ask(url, **form)[1]["error"] == "invalid_grant"
    assert ask(url, **form, code_verifier="x" * 50)[1]["error"] == "invalid_grant"
    assert ask(url, **{**form, "redirect_uri": "https://board.example/back"}, code_verifier=VERIFIER)[1]["error"] == "invalid_grant"


def test_who_says_no_sends_the_program_away(at: tuple[House, str], browser: Callable[[str], httpx.Client]) -> None:
    assert agreed(browser("jun"), query(program(at[0]).id), "deny")["error"] == "access_denied"


def test_a_browser_is_never_sent_to_an_address_that_nobody_registered(
    at: tuple[House, str], browser: Callable[[str], httpx.Client]
) -> None:
    client = program(at[0])
    jun = browser("jun")
    for redirect in (
        "https://evil.example/",
        "https://board.example/back/more",
        "http://board.example/back",
        "javascript:alert(1)",
        "http://127.0.0.1/other",
        "",
    ):
        assert jun.get("/oauth/authorize?" + urlencode(query(client.id, redirect_uri=redirect))).status_code == 400
    for wrong in ({"response_type": "token"}, {"code_challenge": ""}, {"code_challenge_method": "plain"}, {"scope": "root"}):
        answer = jun.get("/oauth/authorize?" + urlencode(query(client.id, **wrong)))
        assert answer.status_code == 303 and "error=" in answer.headers["location"]


@given(host=st.sampled_from(["board.example", "evil.example", "127.0.0.1", "localhost"]), path=st.sampled_from(["/back", "/callback", "/", "/back/../x"]), port=st.integers(1, 65535), scheme=st.sampled_from(["http", "https"]))  # fmt: skip
def test_only_registered_addresses_are_allowed_whatever_is_tried(host: str, path: str, port: int, scheme: str) -> None:
    url = f"{scheme}://{host}:{port}{path}"
    allowed = rules.redirect_allowed(url, (BACK, "https://board.example/back"))
    assert allowed == (scheme == "http" and host == "127.0.0.1" and path == "/callback")


@pytest.mark.parametrize("url", ["https://x.example;script-src", "https://x.example:1;y/", "https://u@x.example/", "https://x.example/#a", "https://x example/", "https:///a", "//x.example", "https://x\\y.example/", "http://192.0.2.1/", "https://\u00e9.example/", "https://x.example:/"])  # fmt: skip
def test_an_address_that_is_more_than_host_port_and_path_is_not_registered(url: str) -> None:
    assert not rules.usable_redirect(url)
    assert rules.usable_redirect("https://x.example:8443/a?b=c") and rules.usable_redirect("http://[::1]:80/a")


@given(words=st.lists(st.sampled_from([*rules.WORDS, "root", "*", "house.manage"]), max_size=5))
def test_no_scope_gives_more_than_the_hub(words: list[str]) -> None:
    assert within({"hub.read", "hub.discuss", "hub.write", "hub.manage"}, rules.permissions(rules.known(" ".join(words))))


# --- jobs elsewhere -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def issuer() -> Iterator[tuple[str, Callable[..., str]]]:
    """Another service that gives its jobs identity tokens, signed with RS256."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    jwk = {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key())), "kid": "k1", "use": "sig"}

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            at = f"http://127.0.0.1:{self.server.server_port}"  # type: ignore[attr-defined]
            body = {"keys": [jwk]} if self.path == "/keys" else {"issuer": at, "jwks_uri": f"{at}/keys"}
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: Any) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"

    def token(audience: str, signer: Any = key, algorithm: str = "RS256", **claims: Any) -> str:
        now = int(time.time())
        return jwt.encode({"iss": url, "aud": audience, "iat": now, "exp": now + 300, **claims}, signer, algorithm, headers={"kid": "k1"})

    yield url, token
    server.shutdown()
    server.server_close()


def test_a_job_elsewhere_writes_to_its_repository_and_to_no_other(at: tuple[House, str], issuer: tuple[str, Callable[..., str]], monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    house, url = at
    mei = HfApi(endpoint=url, token=house.db.write(lambda tx: house.access.add_token(tx, Actor("mei"), "mei", "t"))[1])
    for name in ("built", "other"):
        mei.create_repo(f"{LANTERN}/{name}")
    oidc.publish(house, Actor("mei"), f"{LANTERN}/built", issuer[0], {"repository": "lantern/code", "ref": "refs/heads/main"})
    subject = issuer[1](url, repository="lantern/code", ref="refs/heads/main")
    from huggingface_hub._oidc import oidc_login

    given_ = oidc_login(resource=f"{LANTERN}/built", subject_token=subject, endpoint=url)
    assert given_["expires_in"] == 3600
    job = HfApi(endpoint=url, token=given_["access_token"])
    job.upload_file(path_or_fileobj=b"tide", path_in_repo="notes.txt", repo_id=f"{LANTERN}/built")
    with pytest.raises(HfHubHTTPError):
        job.upload_file(path_or_fileobj=b"tide", path_in_repo="notes.txt", repo_id=f"{LANTERN}/other")
    assert job.whoami()["auth"]["accessToken"]["role"] == "fineGrained"


def test_only_the_right_identity_token_is_exchanged(at: tuple[House, str], issuer: tuple[str, Callable[..., str]]) -> None:
    house, url = at
    mei = HfApi(endpoint=url, token=house.db.write(lambda tx: house.access.add_token(tx, Actor("mei"), "mei", "t"))[1])
    mei.create_repo(f"{LANTERN}/exchanged")
    oidc.publish(house, Actor("mei"), f"{LANTERN}/exchanged", issuer[0], {"repository": "lantern/code"})
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    token = issuer[1]
    unsigned = jwt.encode({"iss": issuer[0], "aud": url, "exp": int(time.time()) + 300, "repository": "lantern/code"}, "", "none")
    wrong = [
        token(url, repository="someone/else"), token("https://another.example", repository="lantern/code"), token(url, signer=other, repository="lantern/code"),
        token(url, repository="lantern/code", exp=int(time.time()) - 600), token(url, repository="lantern/code", iss="https://another.example"),
        token(url, signer=b"k" * 32, algorithm="HS256", repository="lantern/code"), unsigned, "x.y.z", "",
    ]  # fmt: skip
    form = {"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "resource": f"{LANTERN}/exchanged"}
    for subject in wrong:
        answer = httpx.post(f"{url}/oauth/token", json={**form, "subject_token": subject})
        assert answer.status_code == 400 and answer.json()["error"] in ("invalid_grant", "invalid_request"), subject
    good = token(url, repository="lantern/code")
    assert httpx.post(f"{url}/oauth/token", json={**form, "subject_token": good}).status_code == 200
    assert httpx.post(f"{url}/oauth/token", json={**form, "resource": f"{LANTERN}/other", "subject_token": good}).status_code == 400


def test_a_token_for_another_service_is_not_taken_under_that_services_name(
    at: tuple[House, str], issuer: tuple[str, Callable[..., str]]
) -> None:
    """Whoever gets a job's identity token for themselves may call us by any name in the Host header."""
    house, url = at
    mei = house.db.write(lambda tx: house.access.add_token(tx, Actor("mei"), "mei", "t"))[1]
    HfApi(endpoint=url, token=mei).create_repo(f"{LANTERN}/audience")
    body = {"resource": f"{LANTERN}/audience", "issuer": issuer[0], "claims": {"repository": "lantern/code"}}
    assert httpx.post(f"{url}/api/hub/trusted-publishers", json=body, headers={"authorization": f"Bearer {mei}"}).status_code == 201
    form = {"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "resource": f"{LANTERN}/audience"}
    for audience, host, status in (("http://evil.example", "evil.example", 400), (url, url.removeprefix("http://"), 200)):
        subject = issuer[1](audience, repository="lantern/code")
        answer = httpx.post(f"{url}/oauth/token", json={**form, "subject_token": subject}, headers={"host": host})
        assert answer.status_code == status, answer.text


def test_only_who_manages_a_repository_lets_jobs_write_to_it(at: tuple[House, str]) -> None:
    house, url = at
    tom = house.db.write(lambda tx: house.access.add_token(tx, Actor("tom"), "tom", "t"))[1]
    body = {"resource": f"{LANTERN}/built", "issuer": "https://ci.example", "claims": {"repository": "x"}}
    assert httpx.post(f"{url}/api/hub/trusted-publishers", json=body, headers={"authorization": f"Bearer {tom}"}).status_code == 404
    assert httpx.get(f"{url}/api/hub/trusted-publishers", headers={"authorization": f"Bearer {tom}"}).json() == []


@given(
    token=st.text(max_size=60)
    | st.tuples(*[st.binary(max_size=20)] * 3).map(lambda p: ".".join(base64.urlsafe_b64encode(x).decode() for x in p))
)
def test_any_text_is_a_signed_token_or_is_refused(token: str) -> None:
    try:
        jws.check(jws.read(token), [jws.public(ec.generate_private_key(ec.SECP256R1()), "k")])
    except jws.NotSigned:
        return
    raise AssertionError(token)


def test_either_database_keeps_sign_ins(database_url: str, tmp_path: Path) -> None:
    house = hub_house(tmp_path / "house", database_url)
    try:
        begun_ = oauth.begin(house, TERMINAL, "", "somewhere")
        oauth.decide_device(house, Actor("jun"), begun_.user_code, approve=True)
        first = oauth.ask_of_device(house, TERMINAL, begun_.device_code)
        second = oauth.refresh(house, TERMINAL, None, first.refresh_token)
        assert house.db.read(lambda tx: house.access.authenticate(tx, second.access_token)).user == "jun"
        client = oauth.add_client(house, SYSTEM, "Board", (BACK,), public=True)
        asked = oauth.Consent(oauth.consent(house, client.id, BACK), BACK, "openid", rules.challenge_of(VERIFIER), "", "")
        code = oauth.agree(house, Actor("jun"), asked)
        assert oauth.redeem(house, client.id, None, code, BACK, VERIFIER).user == "jun"
        with pytest.raises(oauth.OAuthError, match="used already"):
            oauth.redeem(house, client.id, None, code, BACK, VERIFIER)
        made = oidc.publish(house, Actor("jun"), "jun", "https://ci.example", {"repository": "x"})
        assert [each.id for each in oidc.publishers(house, Actor("jun"))] == [made.id]
        oidc.withdraw(house, Actor("jun"), made.id)
        oauth.delete_client(house, SYSTEM, client.id)
        assert oauth.clients(house, SYSTEM) == []
    finally:
        house.close()
