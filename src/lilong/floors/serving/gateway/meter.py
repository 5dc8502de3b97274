"""The meter: every request is written down so that what a client received is billed exactly, once, even across `kill -9`.

A request takes a ledger slot when it is admitted; the slot's count rises before each token is handed on; one final record goes
to the segment before the last bytes do. Segments are forced to the disk by group commit. After a crash, slots still live whose
record is missing become `interrupted` records of the epoch in which they began.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from lilong.floors.serving.contract import BadAddress, Deployment, Key, LedgerBusy, MeterFull, Receipt, SegmentDamaged, Terminal
from lilong.floors.serving.gateway import ledger, segments
from lilong.ground.seams import stamp

_encode = msgspec.json.Encoder().encode
Detail = tuple[str, str, str, str, str, str, str, str, str, str]
_detail = msgspec.json.Decoder(Detail).decode


@dataclass(frozen=True, slots=True)
class Recovery:
    """What opening the meter found of an earlier life."""

    interrupted: int = 0  # requests closed as interrupted
    torn_bytes: int = 0  # bytes of a cut write removed
    damaged: tuple[str, ...] = ()  # segments left as they are, with what is wrong


@dataclass(slots=True)
class Ticket:
    """One admitted request. `prompt` and `deliver` keep the ledger; `Meter.finish` ends it."""

    id: str
    seq: int
    started: float  # seconds since 1970
    word: int
    words: memoryview
    key: Key
    organisation: str
    deployment: Deployment
    request: str
    delivered: int = 0
    prompt_tokens: int = 0

    def prompt(self, tokens: int) -> None:
        self.prompt_tokens = tokens
        self.words[self.word + ledger.PROMPT] = tokens

    def deliver(self, tokens: int) -> None:
        """Count tokens as delivered: call it before the bytes that carry them are sent."""
        self.delivered += tokens
        self.words[self.word + ledger.DELIVERED] = self.delivered


class Meter:
    """The only writer of one gateway's folder. Opening it recovers what an earlier process left. Used by one event loop."""

    def __init__(
        self,
        folder: Path,
        gateway: str = "g0",
        *,
        wall: Callable[[], float] = time.time,
        slots: int = 4096,
        segment_bytes: int = 8 << 20,
        commit_seconds: float = 0.03,
    ) -> None:
        """Raises LedgerBusy where another process holds the folder, MeterFull where the disk is full."""
        if not (gateway.isascii() and gateway.isalnum() and len(gateway) <= 16):
            raise BadAddress(f"The gateway name '{gateway}' cannot be used: give 1 to 16 letters and digits.")
        self.gateway = gateway
        self.folder = folder / gateway
        self.wall = wall
        self.segment_bytes = segment_bytes
        self.commit_seconds = commit_seconds
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as e:
            os.close(self._lock)
            raise LedgerBusy(folder=str(self.folder)) from e
        self.recovery = self._recover()
        epochs = [segments.place_of(path)[0] for path in self.folder.glob(f"*{segments.SUFFIX}")]
        self.epoch = max(int(wall() * 1000), *(epoch + 1 for epoch in epochs), 1) if epochs else int(wall() * 1000)
        self._ledger = ledger.Ledger(self.folder / "ledger", gateway, self.epoch, slots)
        self._next = 1
        self._open: dict[int, None] = {}  # numbers of open requests, oldest first
        self._number = 0
        self._fd = -1
        self._size = 0
        self._dirty = False
        self._commit: asyncio.TimerHandle | None = None
        self._committing = False
        self._broken = False
        self._unsynced = False  # a sync failed: the system may have dropped what it could not write
        self._rotate()

    def begin(self, key: Key, organisation: str, deployment: Deployment, request: str) -> Ticket:
        """Admit one request for which `organisation` pays. `request` is its body's digest. Raises MeterFull."""
        if self._broken:
            self._mend()
        seq = self._next
        started = self.wall()
        word = self._ledger.take(seq, started, _encode(_identity(key, organisation, deployment, request)))
        self._next = seq + 1
        self._open[seq] = None
        return Ticket(
            f"rcpt-{self.gateway}-{self.epoch}-{seq}", seq, started, word, self._ledger.words, key, organisation, deployment, request
        )

    def finish(self, ticket: Ticket, state: Terminal, prompt: int, completion: int, response: str) -> Receipt:
        """Write the request's one final record. Call it before the last bytes are sent.

        Raises MeterFull where the record cannot be written; the slot then stays live, so the next start still bills it.
        """
        receipt = _receipt(
            _identity(ticket.key, ticket.organisation, ticket.deployment, ticket.request),
            place=(self.gateway, self.epoch, ticket.seq),
            started=ticket.started,
            milliseconds=max(0, round((self.wall() - ticket.started) * 1000)),
            tokens=(prompt, completion),
            state=state,
            response=response,
        )
        self._append(segments.frame(ticket.seq, _encode(receipt)))
        del self._open[ticket.seq]
        self._ledger.release(ticket.word)
        return receipt

    @property
    def in_flight(self) -> int:
        return self._ledger.open

    def commit(self) -> None:
        """Force what was written to the disk, now."""
        self._dirty = False
        segments.fdatasync(self._fd)

    def close(self) -> None:
        if self._commit is not None:
            self._commit.cancel()
        if self._fd >= 0:
            self.commit()
            os.close(self._fd)
            self._fd = -1
        if not self._ledger.open:  # else their slots stay live, and the next start closes them
            self._ledger.close()
        os.close(self._lock)

    def _append(self, data: bytes) -> None:
        if self._broken:
            self._mend()
        if self._size + len(data) > self.segment_bytes and self._size > segments.HEADER_BYTES:
            self._rotate()
        try:
            written = os.write(self._fd, data)
        except OSError as e:
            self._broken = True
            raise MeterFull(problem=e.strerror or str(e)) from e
        if written != len(data):
            self._broken = True
            raise MeterFull(problem="the disk is full")
        self._size += written
        self._dirty = True
        if self._commit is None:
            self._schedule_commit()

    def _mend(self) -> None:
        """After a failed write: cut what it left and try whether there is room again. Raises MeterFull."""
        try:
            os.ftruncate(self._fd, self._size)
            segments.reserve(self._fd, self._size, 1 << 16)
            os.ftruncate(self._fd, self._size)
            if self._unsynced:
                self._rotate()  # a second sync of the same file proves nothing: new records go where a sync still tells the truth
        except OSError as e:
            raise MeterFull(problem=e.strerror or str(e)) from e
        self._broken = self._unsynced = False

    def _rotate(self) -> None:
        if self._fd >= 0:
            self.commit()
            os.close(self._fd)
        self._number += 1
        low = next(iter(self._open), self._next)
        header = segments.Header(self.gateway, self.epoch, self._number, low, self._next)
        self._fd = _create(self.folder, header)
        self._size = segments.HEADER_BYTES

    def _schedule_commit(self) -> None:
        """Group commit: the first write of a group starts the clock, one fdatasync in a thread ends it."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # outside an event loop the caller commits
        self._commit = loop.call_later(self.commit_seconds, self._commit_group, loop)

    def _commit_group(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._committing:  # the disk is slower than the clock: wait for it
            self._commit = loop.call_later(self.commit_seconds, self._commit_group, loop)
            return
        self._commit = None
        self._dirty = False
        self._committing = True
        copy = os.dup(self._fd)  # a rotation may close the original meanwhile

        def sync() -> None:
            try:
                segments.fdatasync(copy)
            finally:
                os.close(copy)

        def done(synced: asyncio.Future[None]) -> None:
            self._committing = False
            if synced.exception() is not None:
                self._broken = self._unsynced = True

        loop.run_in_executor(None, sync).add_done_callback(done)

    def _recover(self) -> Recovery:
        old = self.folder / "ledger"
        if not old.exists():
            return Recovery()
        gateway, epoch, live = ledger.read(old)
        files = sorted(self.folder.glob(f"{epoch:013d}-*{segments.SUFFIX}"), key=segments.place_of)
        torn, damaged, written = 0, [], set[int]()
        for path in files[-2:]:  # a slot outlives its record by a few instructions only
            if path.stat().st_size < segments.HEADER_BYTES:
                path.unlink()  # cut while it was being created: no record was ever in it
                continue
            try:
                found = segments.scan(path)
            except SegmentDamaged as e:
                damaged.append(str(e))
                written |= _numbers_in(path)
                continue
            written |= {each.seq for each in found.frames}
            if found.torn:
                torn += found.torn
                os.truncate(path, found.end)
        missing = [each for each in live if each.seq not in written]
        if missing:
            number = segments.place_of(files[-1])[1] + 1 if files else 1
            seqs = [each.seq for each in missing]
            handle = _create(self.folder, segments.Header(gateway, epoch, number, min(seqs), max(seqs) + 1))
            try:
                for each in missing:
                    os.write(handle, segments.frame(each.seq, _encode(_interrupted(each, gateway, epoch, self.wall()))))
                segments.fdatasync(handle)
            finally:
                os.close(handle)
        return Recovery(len(missing), torn, tuple(damaged))


def _create(folder: Path, header: segments.Header) -> int:
    """A new segment, durable with its header, open for appending. Raises MeterFull."""
    path = folder / segments.name(header.epoch, header.number)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        os.write(handle, header.pack())
        os.fsync(handle)
        parent = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)
    except OSError as e:
        raise MeterFull(problem=e.strerror or str(e)) from e
    return handle


def _numbers_in(path: Path) -> set[int]:
    """The request numbers of a damaged segment's sound records, wherever they stand."""
    data = path.read_bytes()
    found, at = set(), data.find(b'{"id":"rcpt-')
    while at >= 0:
        if at >= segments.FRAME.size:
            found.add(segments.FRAME.unpack_from(data, at - segments.FRAME.size)[2])
        at = data.find(b'{"id":"rcpt-', at + 1)
    return found


def _identity(key: Key, organisation: str, deployment: Deployment, request: str) -> Detail:
    return (
        organisation,
        key.user,
        key.token,
        deployment.id,
        deployment.model,
        deployment.repository,
        deployment.commit,
        deployment.revision,
        deployment.statement,
        request,
    )


def _interrupted(slot: ledger.OpenRequest, gateway: str, epoch: int, now: float) -> Receipt:
    return _receipt(
        _detail(slot.detail),
        place=(gateway, epoch, slot.seq),
        started=slot.started,
        milliseconds=max(0, round((now - slot.started) * 1000)),
        tokens=(slot.prompt, slot.delivered),
        state=Terminal.INTERRUPTED,
        response="",
    )


def _receipt(
    who: Detail,
    *,
    place: tuple[str, int, int],
    started: float,
    milliseconds: int,
    tokens: tuple[int, int],
    state: Terminal,
    response: str,
) -> Receipt:
    organisation, user, token, deployment, model, repository, commit, revision, statement, request = who
    return Receipt(
        id=segments.receipt_id(*place),
        at=stamp(datetime.fromtimestamp(started, UTC)),
        milliseconds=milliseconds,
        organisation=organisation,
        user=user,
        token=token,
        deployment=deployment,
        model=model,
        repository=repository,
        commit=commit,
        revision=revision,
        statement=statement,
        request=request,
        response=response,
        prompt_tokens=tokens[0],
        completion_tokens=tokens[1],
        state=state.value,
        gateway=place[0],
        epoch=place[1],
        seq=place[2],
    )
