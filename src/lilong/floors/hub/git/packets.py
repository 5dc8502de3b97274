"""pkt-lines, and what a pusher says in them (gitprotocol-common(5), gitprotocol-pack(5), gitprotocol-capabilities(5))."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

FLUSH = b"0000"
EMPTY_BAND = b"0005\2"  # nothing to show: a sign of life
MOST = 65516  # bytes that one packet carries
NOTHING = "0" * 40  # as an old id: there is no such ref yet; as a new one: take it away

_ID = re.compile(rb"[0-9a-f]{40}")
_LINE_LIMIT = 4096  # bytes of one command: a ref's name is far shorter
_COMMANDS = 10_000  # of one push


class BadPacket(ValueError):
    """What came is not a stream of pkt-lines."""


def packet(content: bytes) -> bytes:
    return b"%04x" % (len(content) + 4) + content


def band(channel: int, content: bytes) -> bytes:
    """Content on one channel of `side-band-64k`: 1 is the answer itself, 2 is shown to the user."""
    most = MOST - 1
    return b"".join(packet(bytes([channel]) + content[at : at + most]) for at in range(0, len(content), most))


class Reader:
    """Takes packets off a stream, and hands over what follows them."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._held = b""

    def packet(self) -> bytes | None:
        """The next packet's content; None for a flush packet. Raises BadPacket."""
        length = self._take(4)
        try:
            size = int(length, 16)
        except ValueError:
            raise BadPacket(f"{length!r} is not the length of a packet") from None
        if size == 0:
            return None
        if size < 4 or size > _LINE_LIMIT:
            raise BadPacket(f"a packet of {size} bytes")
        return self._take(size - 4)

    def _take(self, count: int) -> bytes:
        while len(self._held) < count:
            piece = next(self._pieces, None)
            if piece is None:
                raise BadPacket("it ends within a packet")
            self._held += piece
        taken, self._held = self._held[:count], self._held[count:]
        return taken

    def rest(self) -> Iterator[bytes]:
        if self._held:
            yield self._held
            self._held = b""
        yield from self._pieces


@dataclass(frozen=True, slots=True)
class Command:
    """Move a ref from `old` to `new`."""

    old: str
    new: str
    ref: str

    @property
    def creates(self) -> bool:
        return self.old == NOTHING

    @property
    def deletes(self) -> bool:
        return self.new == NOTHING


@dataclass(frozen=True, slots=True)
class Request:
    commands: tuple[Command, ...]
    capabilities: frozenset[str]


def read_request(reader: Reader) -> Request:
    """The commands of a push; the pack is what is left in the reader. Raises BadPacket."""
    commands: list[Command] = []
    capabilities: frozenset[str] = frozenset()
    seen: set[str] = set()
    while (line := reader.packet()) is not None:
        line, zero, said = line.partition(b"\0")
        if zero and not commands:
            capabilities = frozenset(said.decode("utf-8", "replace").split())
        line = line.rstrip(b"\n")
        if line.startswith(b"shallow "):  # where the pusher's own history ends; ours must hold what lies before
            continue
        if line.startswith(b"push-cert"):
            raise BadPacket("a signed push, which was not offered")
        old, new, name = line[:40], line[41:81], line[82:]
        if not (_ID.fullmatch(old) and _ID.fullmatch(new) and line[40:41] == b" " == line[81:82] and name):
            raise BadPacket("a line that is no command")
        command = Command(old.decode(), new.decode(), name.decode("utf-8", "replace"))
        if command.ref in seen:
            raise BadPacket(f"two commands for {command.ref[:200]!r}")
        seen.add(command.ref)
        commands.append(command)
        if len(commands) > _COMMANDS:
            raise BadPacket(f"more than {_COMMANDS} commands")
    return Request(tuple(commands), capabilities)


def advertisement(service: str, refs: Iterable[tuple[str, str]], capabilities: Iterable[str]) -> bytes:
    """The first answer of smart HTTP: what refs there are. `refs`: (name, id)."""
    said = b"\0" + " ".join(capabilities).encode()
    lines = [f"{identity} {name}".encode() for name, identity in refs] or [f"{NOTHING} capabilities^{{}}".encode()]
    lines[0] += said
    return packet(f"# service={service}\n".encode()) + FLUSH + b"".join(packet(line + b"\n") for line in lines) + FLUSH


def report(capabilities: Iterable[str], unpacked: str, results: Iterable[tuple[str, str]], told: str = "") -> bytes:
    """The answer to a push, as far as the pusher can take it in. `results`: (ref, problem; "" for done); `told` is shown to the user."""
    able = set(capabilities)
    lines = [packet(f"unpack {_line(unpacked)}\n".encode())]
    lines += [packet((f"ng {ref} {_line(problem)}" if problem else f"ok {ref}").encode() + b"\n") for ref, problem in results]
    status = b"".join(lines) + FLUSH if "report-status" in able else b""
    if "side-band-64k" not in able:
        return status
    return (band(2, told.encode()) if told else b"") + (band(1, status) if status else b"") + FLUSH


def _line(text: str) -> str:
    return " ".join(text.split())[:2000] or "refused"
