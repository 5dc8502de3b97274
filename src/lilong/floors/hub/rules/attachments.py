"""Which files may be attached to a comment: pictures, films and sounds that begin as such files do."""

from __future__ import annotations

from lilong.ground.errors import BadInput

LIMIT = 10 << 20  # bytes
FILM = 50 << 20
_KINDS = {
    "image/png": ".png", "image/jpeg": ".jpg", "image/gif": ".gif", "image/webp": ".webp", "video/mp4": ".mp4", "video/quicktime": ".mov",
    "video/webm": ".webm", "audio/mpeg": ".mp3", "audio/wav": ".wav",
}  # fmt: skip
_STARTS = {
    ".png": b"\x89PNG\r\n\x1a\n", ".jpg": b"\xff\xd8\xff", ".gif": b"GIF8", ".webp": b"RIFF", ".webm": b"\x1a\x45\xdf\xa3", ".wav": b"RIFF",
}  # fmt: skip
_LATER = {".webp": (8, b"WEBP"), ".wav": (8, b"WAVE"), ".mp4": (4, b"ftyp"), ".mov": (4, b"")}
_MOV = (b"ftyp", b"moov", b"wide", b"mdat", b"free", b"skip")


class NotAttachable(BadInput):
    """This file cannot be attached: {problem}. Taken: PNG, JPEG, GIF, WebP, MP4, MOV, WebM, MP3 and WAV."""

    status = 400


def suffix(media_type: str) -> str:
    """What its name ends with. Raises NotAttachable."""
    found = _KINDS.get(media_type.partition(";")[0].strip().lower())
    if found is None:
        raise NotAttachable(problem="it is of another kind")
    return found


def media_type_of(suffix: str) -> str:
    return next(kind for kind, known in _KINDS.items() if known == suffix)


def limit(suffix: str) -> int:
    return FILM if suffix in (".mp4", ".mov", ".webm") else LIMIT


def check_start(suffix: str, start: bytes) -> None:
    """Raises NotAttachable."""
    place, word = _LATER.get(suffix, (0, b""))
    fits = start.startswith(_STARTS.get(suffix, b"")) and start[place : place + len(word)] == word
    if suffix == ".mov":
        fits = start[4:8] in _MOV
    elif suffix == ".mp3":
        fits = start.startswith(b"ID3") or (len(start) > 1 and start[0] == 0xFF and start[1] & 0xE0 == 0xE0)
    if not fits:
        raise NotAttachable(problem=f"it does not begin as a {suffix[1:]} file does")
