"""What the gateway answers when it does not serve: the error shape of OpenAI's API, one constructor per case."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from lilong.ground.errors import LilongError


@dataclass(slots=True)
class Refusal(Exception):
    """An answer that ends the request. `retry_after` is in seconds."""

    status: int
    kind: str
    code: str
    message: str
    param: str | None = None
    retry_after: int | None = None

    def body(self) -> bytes:
        return error_body(self.message, self.kind, self.code, self.param)


def error_body(message: str, kind: str, code: str | None, param: str | None = None) -> bytes:
    return msgspec.json.encode({"error": {"message": message, "type": kind, "param": param, "code": code}})


def unauthenticated(problem: str) -> Refusal:
    return Refusal(
        401, "authentication_error", "invalid_api_key", f"{problem} Pass a token made with `lilong token create` as the API key."
    )


def forbidden(problem: str) -> Refusal:
    return Refusal(403, "permission_error", "not_allowed", problem)


def token_not_for(model: str) -> Refusal:
    message = f"This token may not ask for the model '{model}'. Use a token whose models include it."
    return Refusal(403, "permission_error", "model_not_allowed", message, "model")


def unknown_model(model: str) -> Refusal:
    message = f"The model '{model}' does not exist or you may not see it. GET /v1/models lists those you may use."
    return Refusal(404, "invalid_request_error", "model_not_found", message, "model")


def unknown_route(method: str, path: str) -> Refusal:
    return Refusal(404, "invalid_request_error", "unknown_url", f"Unknown request URL: {method} {path}.")


def wrong_method(method: str, path: str, allowed: str) -> Refusal:
    return Refusal(405, "invalid_request_error", "method_not_allowed", f"{path} takes {allowed}, not {method}.")


def bad_request(problem: str, param: str | None = None) -> Refusal:
    return Refusal(400, "invalid_request_error", "invalid_request", problem, param)


def too_large(limit: int) -> Refusal:
    return Refusal(413, "invalid_request_error", "request_too_large", f"The request body is larger than the limit of {limit} bytes.")


def too_many(problem: str, retry_after: int) -> Refusal:
    return Refusal(429, "rate_limit_error", "rate_limit_exceeded", problem, None, retry_after)


def not_ready(model: str, problem: str, retry_after: int = 1) -> Refusal:
    return Refusal(
        503, "server_error", "model_not_ready", f"The model '{model}' is not ready: {problem}. Try again soon.", None, retry_after
    )


def no_gateway() -> Refusal:
    return Refusal(503, "server_error", "no_gateway", "No server has this house open. Start it with `lilong up`.", None, 5)


def upstream_failed(problem: LilongError) -> Refusal:
    return Refusal(502, "server_error", "upstream_error", str(problem))


def meter_full(problem: LilongError) -> Refusal:
    return Refusal(503, "server_error", "meter_full", str(problem), None, 5)
