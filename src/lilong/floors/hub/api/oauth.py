"""Signing programs in: the OAuth 2.0 and OpenID Connect doors, and the two pages on which a user decides."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import msgspec
from fastapi import Request, Response
from starlette.responses import JSONResponse, RedirectResponse

from lilong.floors.hub.rules import jws
from lilong.floors.hub.rules import oauth as rules
from lilong.floors.hub.service import oauth, oidc
from lilong.floors.hub.service.oauth import Consent, OAuthError
from lilong.floors.hub.service.reading import ANONYMOUS
from lilong.ground.access import PUBLIC, SIGNED_IN
from lilong.ground.errors import LilongError
from lilong.ground.pages import page
from lilong.ground.web import POLICY, Rule

from .door import NotAsked, actor_of, here, house_of, json_body, routes, text_of, work

_LONGEST = 64 << 10  # bytes of a form
_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
_DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
_KEPT_BACK = {"cache-control": "no-store", "pragma": "no-cache"}


def _unguarded(path: str) -> Callable[[Callable[[Request], Awaitable[Response]]], None]:
    """A POST door where the Authorization header is a program's, not a user's."""

    def add(handler: Callable[[Request], Awaitable[Response]]) -> None:
        async def endpoint(request: Request) -> Response:
            try:
                return await handler(request)
            except OAuthError as refused:
                challenge = {"www-authenticate": "Basic"} if refused.answer == 401 else {}
                shown = {"error": refused.error, "error_description": refused.description}
                return JSONResponse(shown, refused.answer, {**_KEPT_BACK, **challenge})
            except LilongError as refused:
                return JSONResponse({"error": "invalid_request", "error_description": str(refused)}, 400, _KEPT_BACK)

        routes.rules.append(Rule("POST", path, PUBLIC))
        routes.router.add_route(path, endpoint, methods=["POST"], include_in_schema=False, name=f"hub POST {path}")

    return add


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form or of a JSON object, each once. Raises OAuthError."""
    body = await request.body()
    if len(body) > _LONGEST:
        raise OAuthError("invalid_request", "The request is too long.")
    try:
        if "json" in request.headers.get("content-type", ""):
            value = json.loads(body or b"{}")
            pairs = [(key, each) for key, each in value.items() if isinstance(each, str)] if isinstance(value, dict) else []
        else:
            pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=50)
    except (ValueError, RecursionError):
        raise OAuthError("invalid_request", "The request is neither a form nor a JSON object.") from None
    if len({key for key, _ in pairs}) < len(pairs):
        raise OAuthError("invalid_request", "A parameter is there twice.")
    if any("\0" in each or any("\ud800" <= c <= "\udfff" for c in each) for _, each in pairs):
        raise OAuthError("invalid_request", "A parameter has a character that is none.")
    return dict(pairs)


def _program(request: Request, form: dict[str, str]) -> tuple[str, str | None]:
    """Id and secret of the program, from the header or from the form (RFC 6749 section 2.3.1)."""
    scheme, _, rest = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return form.get("client_id", ""), form.get("client_secret")
    try:
        identity, _, secret = base64.b64decode(rest, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        raise OAuthError("invalid_client", "The Authorization header cannot be read.", 401) from None
    return unquote(identity), unquote(secret)


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


@_unguarded("/oauth/device")
async def begin(request: Request) -> Response:
    form = await _form(request)
    client, _ = _program(request, form)
    begun = await work(oauth.begin, house_of(request), client, form.get("scope", ""), _address(request))
    page_url = f"{here(request)}/oauth/device"
    shown = {
        "device_code": begun.device_code, "user_code": begun.user_code, "verification_uri": page_url,
        "verification_uri_complete": f"{page_url}?user_code={begun.user_code}", "expires_in": begun.expires_in, "interval": oauth.INTERVAL,
    }  # fmt: skip
    return JSONResponse(shown, headers=_KEPT_BACK)


@_unguarded("/oauth/token")
async def token(request: Request) -> Response:
    form, house = await _form(request), house_of(request)
    client, secret = _program(request, form)
    grant = form.get("grant_type", "")
    if grant == _EXCHANGE:
        resource, subject = form.get("resource", ""), form.get("subject_token", "")
        access, seconds, made = await work(oidc.exchange, house, resource, subject, here(request), _address(request))
        shown = {"access_token": access, "token_type": "bearer", "expires_in": seconds, "scope": " ".join(made.scopes)}
        return JSONResponse({**shown, "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"}, headers=_KEPT_BACK)
    if grant == _DEVICE:
        given = await work(oauth.ask_of_device, house, client, form.get("device_code", ""))
    elif grant == "refresh_token":
        given = await work(oauth.refresh, house, client, secret, form.get("refresh_token", ""))
    elif grant == "authorization_code":
        code, redirect, verifier = form.get("code", ""), form.get("redirect_uri", ""), form.get("code_verifier", "")
        given = await work(oauth.redeem, house, client, secret, code, redirect, verifier)
    else:
        raise OAuthError("unsupported_grant_type", "Ask with authorization_code, refresh_token, a device code or a token exchange.")
    shown = {
        "access_token": given.access_token, "token_type": "bearer", "expires_in": given.expires_in, "refresh_token": given.refresh_token,
        "scope": given.words,
    }  # fmt: skip
    if "openid" in given.words.split():
        shown["id_token"] = await work(oidc.identity_token, house, given, here(request))
    return JSONResponse(shown, headers=_KEPT_BACK)


# --- pages ----------------------------------------------------------------------------------------------------------------


def _sign_in_first(request: Request) -> Response:
    target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse(f"/sign-in?next={quote(target, safe='/')}", 303)


@routes.get("/oauth/device", allow=PUBLIC)
async def device_page(request: Request) -> Response:
    if actor_of(request) is ANONYMOUS:
        return _sign_in_first(request)
    code = rules.typed(request.query_params.get("user_code", ""))
    if not code:
        return page(request, "hub/oauth-device.html", code="", asked=None, client=None, words=(), error=None)
    try:
        asked, client = await work(oauth.asked_by_device, house_of(request), actor_of(request), code)
    except LilongError as problem:
        return page(request, "hub/oauth-device.html", problem.status, code="", asked=None, client=None, words=(), error=str(problem))
    return page(request, "hub/oauth-device.html", code=rules.shown(code), asked=asked, client=client, words=asked.words.split(), error=None)


@routes.post("/oauth/device/decide", allow=SIGNED_IN)
async def decide(request: Request) -> Response:
    form = await _form(request)
    approve = form.get("decision") == "approve"
    try:
        await work(oauth.decide_device, house_of(request), actor_of(request), form.get("user_code", ""), approve=approve)
    except LilongError as problem:
        return page(request, "hub/oauth-device.html", problem.status, code="", asked=None, client=None, words=(), error=str(problem))
    return page(request, "hub/oauth-done.html", approved=approve)


@routes.get("/oauth/authorize", allow=PUBLIC)
async def authorize(request: Request) -> Response:
    query = dict(request.query_params)
    try:
        asked = await _asked(request, query)
    except OAuthError as refused:
        return page(request, "hub/oauth-authorize.html", 400, asked=None, words=(), error=refused.description)
    if isinstance(asked, Response):
        return asked
    if actor_of(request) is ANONYMOUS:
        return _sign_in_first(request)
    return _consent_page(request, asked)


def _consent_page(request: Request, asked: Consent) -> Response:
    shown = page(request, "hub/oauth-authorize.html", asked=asked, words=asked.words.split(), error=None)
    to = urlsplit(asked.redirect)
    # Browsers hold a form's redirects to the policy as well.
    shown.headers["content-security-policy"] = POLICY.replace("form-action 'self'", f"form-action 'self' {to.scheme}://{to.netloc}")
    return shown


async def _asked(request: Request, query: dict[str, str]) -> Consent | Response:
    """What the program asks for; or the way back to it, with what is wrong. Raises OAuthError where it must not be sent anything."""
    redirect = query.get("redirect_uri", "")
    client = await work(oauth.consent, house_of(request), query.get("client_id", ""), redirect)
    challenge = query.get("code_challenge", "")

    def back(error: str, description: str) -> Response:
        return RedirectResponse(_onward(request, redirect, query.get("state", ""), error=error, error_description=description), 303)

    if query.get("response_type") != "code":
        return back("unsupported_response_type", "Only codes are given.")
    if challenge and (query.get("code_challenge_method") != "S256" or not rules.is_challenge(challenge)):
        return back("invalid_request", "The code challenge must be S256.")
    if not challenge and client.secret_hash is None:
        return back("invalid_request", "A program without a secret needs PKCE: send a code_challenge.")
    words = rules.known(query.get("scope", "") or "openid profile")
    if not words:
        return back("invalid_scope", "None of these scopes is known here.")
    if len(query.get("nonce", "")) > 500 or len(query.get("state", "")) > 2000:
        return back("invalid_request", "state or nonce is too long.")
    return Consent(client, redirect, words, challenge, query.get("nonce", ""), query.get("state", ""))


def _onward(request: Request, redirect: str, state: str, **answer: str) -> str:
    parts = urlsplit(redirect)
    given = {**answer, **({"state": state} if state else {}), "iss": here(request)}
    return parts._replace(query="&".join(each for each in (parts.query, urlencode(given)) if each)).geturl()


@routes.post("/oauth/authorize/decide", allow=SIGNED_IN)
async def decide_authorize(request: Request) -> Response:
    form = await _form(request)
    try:
        asked = await _asked(request, form)
        if isinstance(asked, Response):
            return asked
        if form.get("decision") != "approve":
            onward = _onward(request, asked.redirect, asked.state, error="access_denied", error_description="The user has said no.")
            return RedirectResponse(onward, 303)
        code = await work(oauth.agree, house_of(request), actor_of(request), asked)
    except LilongError as refused:
        said = refused.description if isinstance(refused, OAuthError) else str(refused)
        return page(request, "hub/oauth-authorize.html", 400, asked=None, words=(), error=said)
    return RedirectResponse(_onward(request, asked.redirect, asked.state, code=code), 303)


# --- who is behind a token ------------------------------------------------------------------------------------------------


@routes.get("/oauth/userinfo", allow=SIGNED_IN)
async def userinfo(request: Request) -> Response:
    about = await work(oidc.about, house_of(request), actor_of(request))
    return JSONResponse(oidc.shown(about, here(request)), headers=_KEPT_BACK)


@routes.get("/oauth/jwks", allow=PUBLIC)
async def keys(request: Request) -> Response:
    private, identity = await work(oidc.key, house_of(request))
    return JSONResponse({"keys": [jws.public(private, identity)]})


async def _described(request: Request) -> Response:
    at = here(request)
    described: dict[str, Any] = {
        "issuer": at, "authorization_endpoint": f"{at}/oauth/authorize", "token_endpoint": f"{at}/oauth/token",
        "device_authorization_endpoint": f"{at}/oauth/device", "userinfo_endpoint": f"{at}/oauth/userinfo", "jwks_uri": f"{at}/oauth/jwks",
        "scopes_supported": list(rules.WORDS), "response_types_supported": ["code"], "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token", _DEVICE, _EXCHANGE], "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["none", "client_secret_basic", "client_secret_post"], "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"], "authorization_response_iss_parameter_supported": True,
        "claims_supported": ["sub", "name", "preferred_username", "profile", "picture", "email", "email_verified", "orgs"],
    }  # fmt: skip
    return JSONResponse(described)


for _path in ("/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"):
    routes.get(_path, allow=PUBLIC)(_described)


# --- programs and jobs elsewhere ------------------------------------------------------------------------------------------


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json", headers=_KEPT_BACK)


@routes.get("/api/hub/oauth-clients", allow="house.manage")
async def clients(request: Request) -> Response:
    return _json(await work(oauth.clients, house_of(request), actor_of(request)))


@routes.post("/api/hub/oauth-clients", allow="house.manage")
async def add_client(request: Request) -> Response:
    body = await json_body(request)
    redirects = body.get("redirect_uris")
    if not isinstance(redirects, list) or not all(isinstance(each, str) for each in redirects):
        raise NotAsked(field="redirect_uris", problem="it must be a list of addresses")
    public = body.get("public") is True
    made = await work(oauth.add_client, house_of(request), actor_of(request), text_of(body, "name"), tuple(redirects), public=public)
    return _json(made, 201)


@routes.delete("/api/hub/oauth-clients/{client}", allow="house.manage")
async def delete_client(request: Request) -> Response:
    await work(oauth.delete_client, house_of(request), actor_of(request), request.path_params["client"])
    return JSONResponse({"ok": True})


@routes.get("/api/hub/trusted-publishers", allow=SIGNED_IN)
async def publishers(request: Request) -> Response:
    return _json(await work(oidc.publishers, house_of(request), actor_of(request)))


@routes.post("/api/hub/trusted-publishers", allow=SIGNED_IN)
async def publish(request: Request) -> Response:
    body = await json_body(request)
    claims = body.get("claims")
    if not isinstance(claims, dict):
        raise NotAsked(field="claims", problem="it must be an object")
    # By which address a job reaches us, it says itself: whom its identity tokens are for is what whoever trusts it has said.
    claims = {"aud": here(request), **claims} if claims else claims
    made = await work(oidc.publish, house_of(request), actor_of(request), text_of(body, "resource"), text_of(body, "issuer"), claims)
    return _json(made, 201)


@routes.delete("/api/hub/trusted-publishers/{publisher}", allow=SIGNED_IN)
async def withdraw(request: Request) -> Response:
    await work(oidc.withdraw, house_of(request), actor_of(request), request.path_params["publisher"])
    return JSONResponse({"ok": True})
