"""Personal data is found with its place and confirmed; what only looks like it is not."""

from __future__ import annotations

import ipaddress
import random
import string

import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lilong.floors.corpus.curation import personal
from lilong.floors.corpus.curation.policies.evaluation import decide
from lilong.floors.corpus.curation.policies.policy import parse_policy
from lilong.floors.corpus.curation.texts import Texts

NASTY = ["", " ", "\n", "\u00a0", "\u2028", "\r\n", "\0", "e\u0301", "🙂", "弄堂", "，", "a" * 50, "(", ": ", '"']


def found(*documents: str) -> list[tuple[str, str]]:
    spans = personal.find(Texts.of(list(documents)))
    raw = [document.encode() for document in documents]
    return [
        (personal.KINDS[kind], raw[document][start:end].decode())
        for document, start, end, kind in zip(
            spans.document.tolist(), spans.start.tolist(), spans.end.tolist(), spans.kind.tolist(), strict=True
        )
    ]


def resident_id(random_source: random.Random) -> str:
    """By the standard's own text: weights 2^(18-i) mod 11 from the left, check character from 10X98765432."""
    body = f"{random_source.choice(['110105', '310104', '440305', '820000'])}{random_source.randint(1940, 2015)}"
    body += f"{random_source.randint(1, 12):02d}{random_source.randint(1, 28):02d}{random_source.randint(0, 999):03d}"
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    return body + "10X98765432"[sum(int(digit) * weight for digit, weight in zip(body, weights, strict=True)) % 11]


def with_luhn(body: str) -> str:
    def total(digits: str) -> int:
        return sum(sum(divmod(int(digit) * (1 + place % 2), 10)) for place, digit in enumerate(reversed(digits)))

    return next(body + check for check in string.digits if total(body + check) % 10 == 0)


def iban(country: str, bban: str) -> str:
    number = "".join(str(int(character, 36)) for character in f"{bban}{country}00")
    return f"{country}{98 - int(number) % 97:02d}{bban}"


ISSUERS = (("LTAI", 20), ("AKID", 32), ("gsk_", 52), ("xai-", 80), ("dop_v1_", 64), ("shpat_", 32), ("GOCSPX-", 28), ("dckr_pat_", 27))
"""How their keys begin, and how many characters follow."""


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("email", "wang.li@lantern-works.cn"),
        ("email", "a.b+list@sub.harbour-lab.co.uk"),
        ("ip", "93.184.216.34"),
        ("ip", "2a00:1450:4001:81b::200e"),
        ("ip", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"),
        ("phone", "13812345678"),
        ("phone", "138-1234-5678"),
        ("phone", "+86 138 1234 5678"),
        ("phone", "8613812345678"),
        ("phone", "010-62781234"),
        ("phone", "0571-8765-4321"),
        ("phone", "+1 415 555 2671"),
        ("phone", "+442079460958"),
        ("phone", "+49 (30) 901820"),
        ("resident_id", "11010519491231002X"),
        ("bank_card", "4532 0151 1283 0366"),
        ("bank_card", "6222 0212 3456 7890 128"),
        ("bank_card", "378282246310005"),
        ("iban", "GB82 WEST 1234 5698 7654 32"),
        ("iban", "DE89370400440532013000"),
        ("secret", "AKIAIOSFODNN7QWERTYU"),
        ("secret", "ghp_16C7e42F292c6912E7710c838347Ae178B4a"),
        ("secret", "sk-proj-aB3dE5fG7hI9jK1lM3nO5pQ7rS9tU1vW3xY5z"),
        ("secret", "sk-4f1d9c0b7a6e5d3c2b1a0f9e8d7c6b5a"),
        ("secret", "xoxb-123456789012-1234567890123-AbCdEfGhIjKlMnOpQrStUvWx"),
        *(("secret", prefix + ("4f1d9c0b7aE5d3c2B1a0f9e8d7C6b5A" * 4)[:size]) for prefix, size in ISSUERS),
    ],
)
@pytest.mark.parametrize(("before", "after"), [("", ""), ("写信给：", "。"), ("<", ">"), ("see ", ", or"), ("\n", "\n"), ("(", ")")])
def test_what_is_personal_is_found_in_running_text(kind: str, value: str, before: str, after: str) -> None:
    assert found("lane", before + value + after, "house") == [(kind, value)]


@pytest.mark.parametrize(
    "text",
    [
        "a@example.com, b@host.example, root@localhost, x@db.internal",
        "icon@2x.png getty@tty1.service user@1000.service",
        "git@github.com:lantern/works.git and ssh://deploy@git.lantern-works.cn/x and https://me:secret@host.lantern.cn/",
        "npm install lantern@1.2.3, @media print, foo@bar, a..b@lantern.cn., @name",
        "127.0.0.1 10.0.0.8 192.168.1.20 172.16.5.4 169.254.1.1 0.0.0.0 255.255.255.0 224.0.0.251 203.0.113.7 198.51.100.9",
        "version 1.2.3.4, V8 5.0.71.52, kernel 2.6.38.6, at-spi 1.91.6.1, OID 1.3.6.1.4.1.311 and 2.5.29.35, section 3.1.4.2",
        "10.20.300.4 1.2.3 93.184.216.34.5 93.184.216.034 a93.184.216.34 93.184.216.0/24",
        "2001:db8::1 fe80::1 ::1 01:23:45:67:89:ab std::vector a::b 12:34:56 2000::",
        "17179869184 15000000000 13812345678901 0138123456789 3.13812345678 v13812345678 13812345678px 12812345678",
        "150 1024 2048 and 2024-01-01T00:00:00+0800, x+1234567890, 1:14~+20210926041028+6063e6b499c7",
        "+1 415 555 0123",  # fictional by the numbering plan
        "110105194912310021 11010519491331002X 99010519491231002X",
        "4532015112830367 4111 1111 1111 1111 0.4532015112830366 1 4532 0151 1283 0366 1 4031078400000",
        "GB83 WEST 1234 5698 7654 32 XX89370400440532013000 DE8937040044053201300",
        "AKIAIOSFODNN7EXAMPLE ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx sk-toggleable__label-arrow-of-estimator-doc-link-and-more",
        "d41d8cd98f00b204e9800998ecf8427e e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----  -----BEGIN CERTIFICATE-----",
        "550e8400-e29b-41d4-a716-446655440000 6227020800817252529l 3.141592653589793",
    ],
)
def test_what_technical_text_is_full_of_is_not_personal(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("王梅/13812345678", ["13812345678"]),
        ("联系人-13812345678，", ["13812345678"]),
        ("13812345678/13987654321", ["13812345678", "13987654321"]),
        ("（0571）87654321", ["0571）87654321"]),
        ("王梅-11010519491231002X", ["11010519491231002X"]),
        ("id-11010519491231002x", ["11010519491231002x"]),
        ("卡/4532015112830366", ["4532015112830366"]),
        ("/a/13812345678 uuid-13812345678 13812345678/2 7/13812345678 13812345678/139876543210 0.11010519491231002X", []),
    ],
)
def test_a_number_behind_a_name_or_beside_another_is_one_and_in_a_path_it_is_none(text: str, numbers: list[str]) -> None:
    assert [what for _, what in found(text)] == numbers


@pytest.mark.parametrize("before", ["mailto:", "Email:", "see <mailto:", "cc:bcc:", "http://x.lantern.cn/mailto:"])
def test_an_address_after_a_word_and_a_colon_is_one(before: str) -> None:
    assert found(before + "mei@lantern-works.cn?subject=tide") == [("email", "mei@lantern-works.cn")]


@pytest.mark.parametrize("before", ["ftp://mei:tide@", "//mei@", "(amqp://mei.w:tide-2@", "see //mei:tide@"])
def test_the_address_of_a_server_with_who_signs_in_there_is_none(before: str) -> None:
    assert found(f"{before}lantern-works.cn/x") == []


def test_a_private_key_is_one_find_from_its_first_to_its_last_line() -> None:
    body = "\n".join("MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj"[:64] for _ in range(3))
    for header in ("", "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,3F17F5316E2BAC89\n\n"):
        block = f"-----BEGIN RSA PRIVATE KEY-----\n{header}{body}\n-----END RSA PRIVATE KEY-----"
        assert found(f"key:\n{block}\nend") == [("secret", block)]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), around=st.lists(st.sampled_from(NASTY), min_size=2, max_size=2))
def test_checksums_decide_between_numbers_of_one_shape(seed: int, around: list[str]) -> None:
    pick = random.Random(seed)
    card = with_luhn(pick.choice(["4", "51", "62", "2221", "3528"]).ljust(4, "7") + "".join(pick.choices(string.digits, k=11)))
    assume(len(set(card)) > 3)
    account = iban("NL", "ABNA" + "".join(pick.choices(string.digits, k=10)))
    person = resident_id(pick)
    for kind, value in (("resident_id", person), ("bank_card", card), ("iban", account)):
        left, right = ("" if part[-1:].isascii() and part[-1:].isalnum() else part for part in around)
        assert (kind, value) in found(left + value + " " + right)
        broken = value[:-2] + str((int(value[-2]) + 1) % 10) + value[-1]
        assert kind not in {one for one, _ in found(left + broken + " " + right)}


@given(st.tuples(*[st.integers(0, 255)] * 4))
def test_routed_addresses_are_those_of_the_registries(octets: tuple[int, int, int, int]) -> None:
    text = ".".join(map(str, octets))
    address = ipaddress.IPv4Address(text)
    like_a_version = sum(octet < 32 for octet in octets) > 2 or (octets[0] < 10 and octets[1] < 32) or octets[3] == 0
    special = not address.is_global or address.is_multicast or text.startswith(("192.88.99.", "192.0.0."))
    assert bool(found(text)) == (not special and not like_a_version)


@given(st.integers(0x2000 << 112, 0x3FFF << 112), st.booleans())
def test_the_shortest_form_of_an_ipv6_address_is_found_whole(number: int, whole: bool) -> None:
    address = ipaddress.IPv6Address(number)
    text = address.exploded if whole else address.compressed
    documentation = address in ipaddress.IPv6Network("3fff::/20") or address in ipaddress.IPv6Network("2001:db8::/32")
    assume(not documentation and text.rstrip(":").count(":") > 0 and number >> 105 != 0x2001 << 7)
    assert found(f"[{text}]") == [("ip", text)]


PIECES = st.sampled_from(
    [*NASTY, "wang@lantern.cn", "13812345678", "93.184.216.34", "4532015112830366", "@", "+86", "-", ".", "0571-87654321", "1", "A"]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(PIECES, max_size=12).map("".join), max_size=4))
def test_spans_lie_apart_on_characters_and_do_not_depend_on_neighbours(documents: list[str]) -> None:
    spans = personal.find(Texts.of(documents))
    alone = [find for document in documents for find in found(document)]
    assert found(*documents) == alone
    end_of: dict[int, int] = {}
    for document, start, end in zip(spans.document.tolist(), spans.start.tolist(), spans.end.tolist(), strict=True):
        assert end_of.get(document, 0) <= start < end <= len(documents[document].encode())
        end_of[document] = end


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(PIECES, max_size=12).map("".join), max_size=4))
def test_masking_replaces_the_finds_and_nothing_else(documents: list[str]) -> None:
    texts = Texts.of(documents)
    spans = personal.find(texts)
    masked = personal.masked(texts, spans)
    for number, document in enumerate(documents):
        raw, expected, at = document.encode(), b"", 0
        for place in range(len(spans)):
            if spans.document[place] == number:
                expected += raw[at : spans.start[place]] + personal.PLACEHOLDERS[spans.kind[place]].encode()
                at = spans.end[place]
        assert masked[number] == (expected + raw[at:]).decode()


NUMBERS = st.sampled_from(
    ["4539 1488 0343 6467", "13812345678", "93.184.216.34", "GB82WEST12345698765432", "wang@lantern.cn", "0571-87654321"]
)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.lists(NUMBERS | st.sampled_from(list("/.-+*@ _1a中")), max_size=9).map("".join), max_size=4),
    st.sampled_from(personal.KINDS),
)
def test_what_is_cleaned_holds_nothing_that_is_looked_for(documents: list[str], other: str) -> None:
    kinds = [kind for kind in personal.KINDS if kind != other]
    clean = personal.cleaned(Texts.of(documents), kinds)
    assert {what for what, _ in found(*clean)} <= {other}
    assert list(personal.cleaned(clean, kinds)) == list(clean)


def test_a_number_that_stood_before_another_is_masked_too() -> None:
    texts = ["nothing", "card 4539 1488 0343 6467/93.184.216.34", "13812345678 here"]
    assert list(personal.cleaned(Texts.of(texts))) == ["nothing", "card [BANK-CARD]/[IP]", "[PHONE] here"]
    assert list(personal.cleaned(Texts.of([]))) == []


def test_masking_only_some_kinds_leaves_the_others() -> None:
    texts = Texts.of(["wang@lantern.cn 13812345678", "nothing", "li@lantern.cn"])
    masked = personal.masked(texts, personal.find(texts), ["email"])
    assert list(masked) == ["[EMAIL] 13812345678", "nothing", "[EMAIL]"]


def test_counts_are_signals_by_document_and_kind() -> None:
    columns = personal.measure(Texts.of(["a@lantern.cn b@lantern.cn 13812345678", "", "93.184.216.34"]))
    assert set(columns) == set(personal.COLUMNS)
    assert columns["pii_email"].tolist() == [2, 0, 0]
    assert columns["pii_phone"].tolist() == [1, 0, 0]
    assert columns["pii_ip"].tolist() == [0, 0, 1]


def test_a_policy_may_drop_what_holds_a_secret() -> None:
    columns = personal.measure(Texts.of(["AKIAIOSFODNN7QWERTYU", "a@lantern.cn"]))
    policy = parse_policy({"name": "p", "version": "1", "profile": "x", "rules": personal.rules(["secret"])}, columns)
    assert decide(policy, pa.table(columns)).keep.tolist() == [False, True]


def test_spans_are_a_table_with_the_kind_by_name() -> None:
    table = personal.find(Texts.of(["", "to a@lantern.cn"])).table()
    assert table.to_pylist() == [{"document": 1, "start": 3, "end": 15, "kind": "email"}]


def test_a_slice_of_a_batch_is_scanned_and_masked_like_a_batch_of_its_own() -> None:
    whole = Texts.of(["a@lantern.cn", "to b@lantern.cn", "13812345678"])
    part = Texts(whole.data, whole.offsets[1:3])
    spans = personal.find(part)
    assert (spans.document.tolist(), spans.start.tolist(), spans.end.tolist()) == ([0], [3], [15])
    assert list(personal.masked(part, spans)) == ["to [EMAIL]"]


def test_a_long_line_without_breaks_and_an_empty_batch_are_scanned() -> None:
    assert found("x" * 1_000_000 + " 13812345678") == [("phone", "13812345678")]
    assert found("1" * 1_000_000) == [] and found("@" * 100_000) == [] and found("-" * 100_000) == []
    assert len(personal.find(Texts.of([]))) == 0
