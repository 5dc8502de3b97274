"""What counts as personal or secret, and the published facts that tell it from what only looks like it."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

KINDS = ("email", "ip", "phone", "resident_id", "bank_card", "iban", "secret")
"""In the order of their numbers, from 0."""
EMAIL, IP, PHONE, RESIDENT_ID, BANK_CARD, IBAN, SECRET = range(len(KINDS))

PLACEHOLDERS = tuple(f"[{kind.upper().replace('_', '-')}]" for kind in KINDS)
"""What stands where something was masked: one text per kind, which is itself nothing that is looked for."""

COLUMNS = {
    "pii_email": "e-mail addresses, reserved domains (RFC 2606, 6761) and file names left out",
    "pii_ip": "IPv4 and IPv6 addresses that the Internet routes (IANA special-purpose registries)",
    "pii_phone": "telephone numbers: Chinese mobile and landline, and E.164 with its +",
    "pii_resident_id": "Chinese resident identity numbers (GB 11643: region, date, check digit)",
    "pii_bank_card": "payment card numbers (issuer range and Luhn; published test numbers left out)",
    "pii_iban": "international bank account numbers (ISO 13616: length by country, mod 97)",
    "pii_secret": "API keys of known shapes and private-key blocks",
}
"""The signals that `measure` answers."""

# Byte flags.
DIGIT, LOWER, UPPER, HYPHEN, UNDERSCORE, LOCAL, HEX, BASE64 = 1, 2, 4, 8, 16, 32, 64, 128
LETTER = LOWER | UPPER
WORD = DIGIT | LETTER | UNDERSCORE

_RESERVED = (
    # Names that no mailbox has: RFC 2606 and 6761, home networks, and the endings of files, units and packages.
    "example invalid test localhost local localdomain lan internal home corp intranet onion alt arpa "
    "png jpg jpeg gif svg webp bmp ico css scss less js mjs ts tsx jsx vue html htm xhtml xml json yaml yml toml ini cfg conf txt rst "
    "log csv tsv tex texi pdf ps eps gz bz tar tgz xz zst deb rpm whl jar war dll so ko dylib exe bin obj lib hpp cpp cxx hxx java py pyc "
    "rb php service socket target timer mount automount slice scope device path swap network netdev link patch diff rej orig bak tmp swp "
    "ttf otf woff mp mkv avi wav ogg flac class"
)
_RESERVED_DOMAINS = (
    "example.com",
    "example.net",
    "example.org",
    "example.edu",
    "example.cn",
    "domain.com",
    "domain.tld",
    "host.com",
    "email.com",
    "users.noreply.github.com",
)

_IBAN_LENGTHS = (
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 ES24 FI18 FK18 FO18 "
    "FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 "
    "MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 "
    "SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30"
)
"""ISO 13616 registry, release 99."""

_CALLING_CODES = (
    "1 7 20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64 65 66 81 82 84 86 90 91 92 93 94 95 98 "
    "211 212 213 216 218 220-269 290 291 297-299 350-359 370-378 380-383 385-387 389 420 421 423 500-509 590-599 670 672-683 685-692 "
    "850 852 853 855 856 880 886 960-968 970-977 992-996 998"
)
"""ITU-T E.164 assigned country codes."""

_MOBILE = "130-139 145-149 150-153 155-159 162 165-167 170-178 180-193 195-199"
"""The first three digits of mobile numbers of mainland China that are in use."""

_PROVINCES = "11-15 21-23 31-37 41-46 50-54 61-65 71 81-83 91"
"""GB/T 2260 province codes."""

_SECRETS = (
    # prefix, place of the rare byte that the scan stops at, shortest and longest body, bytes of the body
    ("AKIA", 2, 16, 16, DIGIT | UPPER),  # AWS access key
    ("ASIA", 2, 16, 16, DIGIT | UPPER),  # AWS temporary key
    ("AIza", 1, 35, 35, DIGIT | LETTER | HYPHEN | UNDERSCORE),  # Google
    ("ghp_", 3, 36, 36, DIGIT | LETTER), ("gho_", 3, 36, 36, DIGIT | LETTER), ("ghu_", 3, 36, 36, DIGIT | LETTER),
    ("ghs_", 3, 36, 36, DIGIT | LETTER), ("ghr_", 3, 36, 76, DIGIT | LETTER),
    ("github_pat_", 6, 82, 82, DIGIT | LETTER | UNDERSCORE),
    ("hf_", 2, 34, 34, LETTER), ("npm_", 3, 36, 36, DIGIT | LETTER),
    ("sk_live_", 2, 24, 120, DIGIT | LETTER), ("rk_live_", 2, 24, 120, DIGIT | LETTER),  # Stripe
    *((f"{name}_v1_", 3, 64, 64, DIGIT | LETTER) for name in ("dop", "doo", "dor")),  # DigitalOcean
    *((f"shp{name}_", 5, 32, 32, DIGIT | LETTER) for name in ("at", "ca", "pa", "ss")),  # Shopify
    ("whsec_", 5, 32, 64, DIGIT | LETTER), ("r8_", 2, 37, 37, DIGIT | LETTER), ("gsk_", 3, 52, 52, DIGIT | LETTER),
    ("xai-", 3, 64, 96, DIGIT | LETTER | UNDERSCORE), ("pplx-", 4, 40, 64, DIGIT | LETTER), ("GOCSPX-", 6, 28, 28, DIGIT | LETTER | HYPHEN | UNDERSCORE),
    ("dckr_pat_", 4, 27, 40, DIGIT | LETTER | HYPHEN | UNDERSCORE), ("glsa_", 4, 41, 41, DIGIT | LETTER | UNDERSCORE),
    ("lin_api_", 3, 40, 40, DIGIT | LETTER), ("figd_", 4, 40, 64, DIGIT | LETTER | HYPHEN | UNDERSCORE), ("ntn_", 3, 43, 50, DIGIT | LETTER),
    ("LTAI", 3, 16, 24, DIGIT | LETTER), ("AKID", 2, 32, 32, DIGIT | LETTER),  # Alibaba Cloud and Tencent Cloud
    ("glpat-", 5, 20, 64, DIGIT | LETTER | HYPHEN | UNDERSCORE),
    ("pypi-AgEIcHlwaS5vcmc", 4, 60, 400, DIGIT | LETTER | HYPHEN | UNDERSCORE),
    *((f"xox{letter}-", 4, 24, 255, DIGIT | LETTER | HYPHEN) for letter in "abeoprs"),  # Slack
    ("sk-", 2, 32, 255, DIGIT | LETTER | HYPHEN | UNDERSCORE),  # OpenAI, Anthropic, DeepSeek and many that follow them
)  # fmt: skip


class Tables(NamedTuple):
    """What the scanner looks things up in."""

    flags: npt.NDArray[np.uint8]  # by byte
    triggers: npt.NDArray[np.uint8]  # by byte: 0 pass on, 1 digit, 2 @, 3 +, 4 may be inside a secret
    pairs: npt.NDArray[np.uint8]  # by two bytes: where a secret's rare byte comes after the other, 1 + the first row of those secrets
    reserved: npt.NDArray[np.uint64]  # sorted name hashes
    prefixes: npt.NDArray[np.uint8]  # (secrets, 24)
    shapes: npt.NDArray[np.int64]  # (secrets, 6): length of the prefix, trigger, shortest, longest, flags, the two bytes
    iban: npt.NDArray[np.int64]  # length by 26 * first letter + second, 0: none
    calling: npt.NDArray[np.uint8]  # by number: 1 where it is a country code
    mobile: npt.NDArray[np.uint8]  # by three digits
    provinces: npt.NDArray[np.uint8]  # by two digits


def name_hash(name: bytes) -> int:
    """FNV-1a over small letters; the scanner computes the same."""
    value = 0xCBF29CE484222325
    for byte in name.lower():
        value = ((value ^ byte) * 0x100000001B3) % (1 << 64)
    return value


def _numbers(ranges: str, size: int) -> npt.NDArray[np.uint8]:
    table = np.zeros(size, np.uint8)
    for part in ranges.split():
        first, _, last = part.partition("-")
        table[int(first) : int(last or first) + 1] = 1
    return table


@cache
def tables() -> Tables:
    flags, triggers = np.zeros(256, np.uint8), np.zeros(256, np.uint8)
    for bit, members in (
        (DIGIT, "0123456789"), (LOWER, "abcdefghijklmnopqrstuvwxyz"), (UPPER, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"), (HYPHEN, "-"), (UNDERSCORE, "_"),
        (HEX, "0123456789abcdefABCDEF"), (LOCAL, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._%+-"),
        (BASE64, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+/="),
    ):  # fmt: skip
        for member in members:
            flags[ord(member)] |= bit
    for number, members in ((1, "0123456789"), (2, "@"), (3, "+"), (4, "-")):
        for member in members:
            triggers[ord(member)] = number
    prefixes, shapes = np.zeros((len(_SECRETS), 24), np.uint8), np.zeros((len(_SECRETS), 6), np.int64)
    pairs = np.zeros(1 << 16, np.uint8)
    for row, (prefix, place, shortest, longest, allowed) in enumerate(sorted(_SECRETS, key=lambda one: one[0][one[1] - 1 : one[1] + 1])):
        pair = ord(prefix[place - 1]) << 8 | ord(prefix[place])
        prefixes[row, : len(prefix)] = np.frombuffer(prefix.encode(), np.uint8)
        shapes[row] = len(prefix), place, shortest, longest, allowed, pair
        triggers[ord(prefix[place])] = 4
        pairs[pair] = pairs[pair] or row + 1
    iban = np.zeros(26 * 26, np.int64)
    for entry in _IBAN_LENGTHS.split():
        iban[26 * (ord(entry[0]) - 65) + ord(entry[1]) - 65] = int(entry[2:])
    reserved = np.sort(np.array([name_hash(name.encode()) for name in (*_RESERVED.split(), *_RESERVED_DOMAINS)], np.uint64))
    return Tables(
        flags,
        triggers,
        pairs,
        reserved,
        prefixes,
        shapes,
        iban,
        _numbers(_CALLING_CODES, 1000),
        _numbers(_MOBILE, 1000),
        _numbers(_PROVINCES, 100),
    )
