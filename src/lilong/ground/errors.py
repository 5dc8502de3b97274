"""One root error. A class's docstring is its message, filled in from the keyword arguments it is raised with.

Each class carries a stable code (its name in kebab case), an HTTP status and a process exit code.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, ClassVar


class LilongError(Exception):
    """Something went wrong inside the house."""

    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str = "", **details: Any) -> None:
        self.details = details
        self._template = message or (type(self).__doc__ or "").strip()
        super().__init__(self.told(str))

    def told(self, translate: Callable[[str], str]) -> str:
        """The message in the language that `translate` knows its template in."""
        template = translate(self._template)
        scope = {"scope": translate(str(self.details["scope"]))} if "scope" in self.details else {}  # "the house", say
        return template.format_map(_Shown(self.details | scope)) if self.details else template

    @classmethod
    def code(cls) -> str:
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", cls.__name__).lower()


class _Shown(dict[str, Any]):
    """A detail that was not given shows as its own name, so that a message is never lost to a KeyError."""

    def __missing__(self, key: str) -> str:
        return "{" + key + "}"


class BadInput(LilongError):
    """The field '{field}' cannot be used: {problem}. {way_out}"""

    status = 422
    exit_code = 2


class Unauthenticated(LilongError):
    """No valid token came with this request. Sign in, or pass a token made with `lilong token create`."""

    status = 401
    exit_code = 3


class Forbidden(LilongError):
    """This needs the permission '{permission}', which {actor} does not have here. Ask an owner of {scope} for a role that has it."""

    status = 403
    exit_code = 3


class NotFound(LilongError):
    """There is no {kind} '{name}' that you may see."""

    status = 404
    exit_code = 4


class Conflict(LilongError):
    """{problem}"""

    status = 409
    exit_code = 5


class TooLarge(LilongError):
    """{what} has {size} bytes; the limit is {limit}."""

    status = 413
    exit_code = 2


class Refused(LilongError):
    """{problem} {way_out}"""

    status = 409
    exit_code = 6


class Unavailable(LilongError):
    """{what} is not available: {problem}. {way_out}"""

    status = 503
    exit_code = 7


class Corrupt(LilongError):
    """{place} does not hold what was written there: {problem}."""

    status = 500
    exit_code = 8
