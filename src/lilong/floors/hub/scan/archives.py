"""Zip archives as PyTorch and numpy write them, read strictly: where two readers could see different members, it is a problem."""

from __future__ import annotations

import re
import struct
import zipfile
from collections.abc import Iterator
from itertools import pairwise
from typing import BinaryIO

from .forwards import Broken

_MEMBERS = 100_000
_DIRECTORY = 8 << 20  # bytes: a list of all members, which a reader holds in memory
_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")  # of the directory's end as large archives have it, before the ordinary one
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCAL = struct.Struct("<4s5H3L2H")
# All that torch.save writes: the pickle, storages as bare bytes, and a few words about them. `code/`, `constants.pkl` and the rest of a
# TorchScript archive are programs.
_TORCH = re.compile(r"(?:data/\d+|version|byteorder|\.data/serialization_id|\.format_version|\.storage_alignment)")


class Archive:
    """An open archive whose members are each there once, in plain sight."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        """Raises Broken."""
        self._file = file
        _check_end(file, size)
        file.seek(0)
        try:
            self._zip = zipfile.ZipFile(file)
            members = self._zip.infolist()
        except (zipfile.BadZipFile, ValueError, OSError, EOFError, NotImplementedError, UnicodeDecodeError, struct.error) as problem:
            raise Broken(f"its archive cannot be read ({problem})") from problem
        if not members or len(members) > _MEMBERS:
            raise Broken(f"its archive has {len(members)} members")
        self.members = {member.filename: member for member in members}
        if len({name.casefold() for name in self.members}) != len(members):
            raise Broken("its archive has two members of one name")
        spans = []
        for member in members:
            _check_member(member)
            spans.append(self._span(member))
        if min(spans)[0] != 0:
            raise Broken("there is something before its archive")
        ordered = sorted(spans)
        for (_, end), (begin, _) in pairwise(ordered):
            if begin < end:
                raise Broken("members of its archive overlap")

    def _span(self, member: zipfile.ZipInfo) -> tuple[int, int]:
        """Where a member lies, by its own header, which must agree with the directory."""
        self._file.seek(member.header_offset)
        head = self._file.read(_LOCAL.size)
        if len(head) < _LOCAL.size or head[:4] != b"PK\x03\x04":
            raise Broken("a member of its archive is not where the directory says")
        fields = _LOCAL.unpack(head)
        flags, method, name_size, extra_size = fields[2], fields[3], fields[9], fields[10]
        name = self._file.read(name_size)
        if name != member.orig_filename.encode("utf-8" if flags & 0x800 else "cp437") or method != member.compress_type:
            raise Broken("a member of its archive has another name or method than the directory says")
        begin = member.header_offset + _LOCAL.size + name_size + extra_size
        return member.header_offset, begin + member.compress_size

    def open(self, name: str) -> BinaryIO:
        """A member's content, read forwards. Raises Broken."""
        try:
            return self._zip.open(self.members[name])  # type: ignore[return-value]
        except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as problem:
            raise Broken(f"a member of its archive cannot be read ({problem})") from problem

    def torch_pickle(self) -> str:
        """The name of the one pickle in an archive of `torch.save`. Raises Broken for any other archive."""
        tops = {name.partition("/")[0] for name in self.members}
        top = next(iter(tops))
        if len(tops) != 1 or f"{top}/data.pkl" not in self.members:
            raise Broken("it is an archive, and not one that torch.save writes")
        for name in self.members:
            rest = name.partition("/")[2]
            if rest != "data.pkl" and not _TORCH.fullmatch(rest):
                raise Broken(f"its archive holds {name[:100]!r}, which torch.save does not write for tensors")
        return f"{top}/data.pkl"

    def arrays(self) -> Iterator[str]:
        """The members of an archive of `numpy.savez`. Raises Broken for any other archive."""
        for name in self.members:
            if not name.endswith(".npy"):
                raise Broken(f"its archive holds {name[:100]!r}, which is no array")
            yield name


def _check_member(member: zipfile.ZipInfo) -> None:
    if member.flag_bits & 0x1:
        raise Broken("a member of its archive is encrypted")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Broken("a member of its archive is compressed in an unusual way")
    parts = member.filename.split("/")
    if member.orig_filename != member.filename or "\\" in member.filename or any(part in ("", "..", ".") for part in parts):
        raise Broken("a member of its archive has an odd name")


def _check_end(file: BinaryIO, size: int) -> None:
    """The directory's end is the file's end, without a comment: a reader that looks for it from behind finds no other."""
    if size < _END.size:
        raise Broken("its archive is cut off")
    file.seek(size - _END.size)
    found = _END.unpack(file.read(_END.size))
    if found[0] != b"PK\x05\x06" or found[7] != 0:
        raise Broken("its archive does not end where the file ends")
    length = found[5]
    place = size - _END.size - _LOCATOR.size
    if place >= _END_64.size:
        file.seek(place)
        magic, _, at, _ = _LOCATOR.unpack(file.read(_LOCATOR.size))
        if magic == b"PK\x06\x07":
            if at != place - _END_64.size:
                raise Broken("the directory of its archive is not where its end says")
            file.seek(at)
            length = _END_64.unpack(file.read(_END_64.size))[8]
    if length > _DIRECTORY:
        raise Broken("the directory of its archive is too large")
