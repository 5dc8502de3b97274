"""Where a repository on another hub is: read from the address that people copy out of a browser."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from lilong.floors.hub.contract import Kind
from lilong.ground import intake
from lilong.ground.errors import BadInput

_VERBS = ("tree", "blob", "resolve", "commit", "commits", "discussions")
_WORDS = {Kind.MODEL: "models", Kind.DATASET: "datasets"}


class NotARepository(BadInput):
    """{url} is not the address of a model or dataset repository. Give it as https://host/organisation/name or https://host/datasets/organisation/name."""


@dataclass(frozen=True, slots=True)
class Source:
    """A revision of a repository on a hub that speaks the Hugging Face API. `revision` is what was asked for."""

    endpoint: str
    kind: Kind
    name: str  # organisation/name, or a bare name where the hub has such
    revision: str

    @property
    def page(self) -> str:
        return f"{self.endpoint}/{'datasets/' if self.kind is Kind.DATASET else ''}{self.name}"

    def api(self, verb: str, revision: str) -> str:
        return f"{self.endpoint}/api/{_WORDS[self.kind]}/{quote(self.name)}/{verb}/{quote(revision, safe='')}"

    def file(self, commit: str, path: str) -> str:
        return f"{self.endpoint}/{'datasets/' if self.kind is Kind.DATASET else ''}{quote(self.name)}/resolve/{quote(commit, safe='')}/{quote(path)}"


def parse(url: str, revision: str | None = None) -> Source:
    """`url` is checked already; what comes before the repository's name is part of the hub's address. Raises NotARepository."""
    parts = urlsplit(url)
    words = [unquote(word) for word in parts.path.split("/") if word]
    named = None
    for at, word in enumerate(words):
        if word in _VERBS and at > 0:
            named = words[at + 1] if len(words) > at + 1 else None
            words = words[:at]
            break
    kind = Kind.MODEL
    if "datasets" in words:
        at = words.index("datasets")
        kind, before, rest = Kind.DATASET, words[:at], words[at + 1 :]
    else:
        before, rest = words[:-2], words[-2:]
    if not 1 <= len(rest) <= 2 or rest[0] in ("spaces", "models", "api", "buckets"):
        raise NotARepository(url=url)
    for word in rest:
        try:
            intake.name(word, "name")
        except BadInput:
            raise NotARepository(url=url) from None
    prefix = "".join(f"/{quote(word)}" for word in before)
    wanted = (revision or named or "main").strip()
    if not wanted or len(wanted) > 200 or "\0" in wanted:
        raise BadInput(field="revision", problem="it is not a revision", way_out="Give a branch, a tag or a commit.")
    return Source(f"{parts.scheme}://{parts.netloc}{prefix}", kind, "/".join(rest), wanted)
