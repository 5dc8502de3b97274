"""A file read back from its terms: any range of it, every chunk checked against its hash on the way."""

from __future__ import annotations

import io
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from lilong.floors.hub.xet import hashes
from lilong.floors.hub.xet.xorbs import BadXorb, Scan, Table, contents
from lilong.ground.errors import Corrupt

Fetch = Callable[[str, int, int], bytes]  # xorb, first byte, byte after the last -> stored bytes
Tables = Callable[[str], Table]  # xorb -> where its chunks lie

_TOGETHER = 1 << 20  # bytes of content fetched and held at a time


@dataclass(frozen=True, slots=True)
class Term:
    """A run of chunks of one xorb."""

    xorb: str
    begin: int
    end: int  # the chunk after the last
    length: int  # bytes of the chunks' contents


class BadXorbBytes(Corrupt):
    """The xorb {xorb} does not hold what was written there: {problem}."""


class Contents:
    """The content that terms stand for."""

    def __init__(self, terms: Sequence[Term], tables: Tables, fetch: Fetch, note: Callable[[BadXorbBytes], None] | None = None) -> None:
        """`note` is called with what is found damaged before it is raised."""
        self._terms = terms
        self._tables = tables
        self._fetch = fetch
        self._note = note
        self._starts = [0, *accumulate(term.length for term in terms)]  # where each term begins; the last: where all end

    @property
    def size(self) -> int:
        return self._starts[-1]

    def pieces(self, first: int, count: int) -> Iterator[bytes | memoryview]:
        """`count` bytes from `first` on, or as many as there are. Raises BadXorbBytes."""
        last = min(first + count, self.size)
        for at in range(max(bisect_right(self._starts, first) - 1, 0), len(self._terms)):
            start = self._starts[at]
            if start >= last:
                return
            try:
                yield from self._of_term(self._terms[at], max(first - start, 0), min(last - start, self._terms[at].length))
            except BadXorbBytes as found:
                if self._note is not None:
                    self._note(found)
                raise

    def _of_term(self, term: Term, first: int, last: int) -> Iterator[bytes | memoryview]:
        """Bytes `first` to before `last` of a term's content."""
        table = self._tables(term.xorb)
        if term.end > len(table):
            raise BadXorbBytes(xorb=term.xorb, problem=f"it has {len(table)} chunks, and a file needs chunk {term.end - 1}")
        leaves = table.leaves(term.begin, term.end)
        run_begin, run_start, position = term.begin, 0, 0  # the run of chunks that is fetched together, and where its content begins
        for offset, (_, length) in enumerate(leaves):
            position += length
            chunk = term.begin + offset
            if position <= first:
                run_begin, run_start = chunk + 1, position
                continue
            if position >= last or position - run_start >= _TOGETHER:
                run = leaves[run_begin - term.begin : offset + 1]
                yield from self._of_run(term.xorb, table, run_begin, run, first - run_start, last - run_start)
                run_begin, run_start = chunk + 1, position
            if position >= last:
                return
        if position < last:
            raise BadXorbBytes(
                xorb=term.xorb, problem=f"its chunks {term.begin} to {term.end - 1} hold {position} bytes, not {term.length}"
            )

    def _of_run(
        self, xorb: str, table: Table, begin: int, leaves: list[hashes.Leaf], first: int, last: int
    ) -> Iterator[bytes | memoryview]:
        """Bytes `first` to before `last` of the content of consecutive chunks."""
        start, end = table.start(begin), table.start(begin + len(leaves))
        stored = self._fetch(xorb, start, end)
        if len(stored) != end - start:
            raise BadXorbBytes(
                xorb=xorb, problem=f"it ends {end - start - len(stored)} bytes before its chunk {begin + len(leaves) - 1} does"
            )
        position = 0
        try:
            for offset, (content, (hash, length)) in enumerate(zip(contents(stored), leaves, strict=True)):
                if len(content) != length or hashes.chunk(content) != hash:
                    raise BadXorbBytes(xorb=xorb, problem=f"the bytes of its chunk {begin + offset} are not those that its hash names")
                if position + length > first and position < last:
                    whole = position >= first and position + length <= last
                    yield content if whole else memoryview(content)[max(first - position, 0) : last - position]
                position += length
        except ValueError as problem:  # BadXorb, or another number of chunks
            known = problem if isinstance(problem, BadXorb) else "it has another number of chunks there than its table says"
            raise BadXorbBytes(xorb=xorb, problem=f"between its bytes {start} and {end}: {known}") from problem


def stored(xorb: str, table: Table, first: int, stop: int, fetch: Callable[[int, int], Iterator[bytes]]) -> Iterator[bytes | memoryview]:
    """Bytes `first` to before `stop` of a xorb as they are stored, each only after its chunk was hashed. Raises BadXorbBytes."""
    ends = range(len(table) + 1)
    begin, end = bisect_right(ends, first, key=table.start) - 1, bisect_left(ends, stop, key=table.start)
    scan, rest, at, done = Scan(), b"", table.start(begin), 0
    try:
        for piece in fetch(at, table.start(end)):
            data = memoryview(rest + piece if rest else piece)
            taken = scan.take(data)
            new = scan.hashes(done)
            if new != [hash for hash, _ in table.leaves(begin + done, begin + done + len(new))]:
                raise BadXorbBytes(
                    xorb=xorb, problem=f"the bytes of a chunk from chunk {begin + done} on are not those that its hash names"
                )
            done += len(new)
            yield data[max(first - at, 0) : min(taken, stop - at)]
            rest, at = bytes(data[taken:]), at + taken
    except BadXorb as problem:
        raise BadXorbBytes(xorb=xorb, problem=f"behind its byte {at}: {problem}") from problem
    if done != end - begin:
        raise BadXorbBytes(xorb=xorb, problem=f"its chunk {begin + done} is cut off, or is none")


class Reader(io.RawIOBase):
    """The same as a file that can be read and sought in. Wrap it in `io.BufferedReader` for small reads."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._position = 0
        self._pieces: Iterator[bytes | memoryview] = iter(())
        self._rest = memoryview(b"")  # what is left of the last piece; it begins at the position

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._contents.size}[whence]
        if base + offset < 0:
            raise ValueError("a position before the beginning")
        if base + offset != self._position:
            self._position = base + offset
            self._rest, self._pieces = memoryview(b""), iter(())
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        target = memoryview(buffer).cast("B")
        if not self._rest.nbytes:
            self._rest = memoryview(self._next(len(target)))
        count = min(len(target), self._rest.nbytes)
        target[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        self._position += count
        return count

    def _next(self, wanted: int) -> bytes | memoryview:
        piece = next(self._pieces, None)
        if piece is None and self._position < self._contents.size:
            # A reader that goes on reading gets longer and longer runs; one that jumps about fetches little that it does not want.
            self._pieces = self._contents.pieces(self._position, max(wanted, _TOGETHER))
            piece = next(self._pieces, None)
        return b"" if piece is None else piece
