"""Secrets that slipped into files, licences, and headers of weights that lie."""

from __future__ import annotations

import base64
import io
import json
import random
import string
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lilong.floors.hub.scan import about, licences, secrets, tensors

_RANDOM = random.Random(7)


def letters(count: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    return "".join(_RANDOM.choice(alphabet) for _ in range(count))


UPPER = string.ascii_uppercase + "234567"


def jwt() -> str:
    part = lambda value: base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")  # noqa: E731
    return f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part({'sub': 'mei', 'iat': 1790000000})}.{letters(43)}"


# Put together from pieces: nothing here is a token, and no scanner of the sources takes it for one.
SAMPLES = {
    "aws-access-key": "AK" + "IA" + letters(16, UPPER),
    "aws-secret-key": "aws_secret_access_key = " + letters(40),
    "github-token": "gh" + "p_" + letters(36),
    "gitlab-token": "glp" + "at-" + letters(20),
    "hugging-face-token": "h" + "f_" + letters(34),
    "openai-key": "s" + "k-proj-" + letters(40) + "T3Blbk" + "FJ" + letters(40),
    "anthropic-key": "s" + "k-ant-api03-" + letters(93),
    "google-key": "AI" + "za" + letters(35),
    "slack-token": "xo" + "xb-" + letters(12, string.digits) + "-" + letters(12, string.digits) + "-" + letters(24),
    "stripe-key": "sk" + "_live_" + letters(24),
    "npm-token": "np" + "m_" + letters(36),
    "private-key": "-----BEGIN RSA PRIVATE " + "KEY-----\n" + letters(64) + "\n" + letters(64),
    "json-web-token": jwt(),
    "lilong-token": "l" + "l_" + letters(43),
}


@pytest.mark.parametrize("rule", SAMPLES)
def test_a_secret_is_found_in_its_line(rule: str) -> None:
    text = f"# settings\n\nvalue: '{SAMPLES[rule]}'\nmore = 1\n"
    assert secrets.find(text.encode()) == [secrets.Finding(rule, 4 if rule == "private-key" else 3)]


def test_a_key_in_one_line_of_json_is_found() -> None:
    key = "-----BEGIN PRIVATE " + "KEY-----\n" + letters(64) + "\n-----END PRIVATE " + "KEY-----\n"
    assert secrets.find(json.dumps({"type": "service_account", "private_key": key}, indent=1).encode()) == [
        secrets.Finding("private-key", 3)
    ]


@pytest.mark.parametrize(
    "piece", ["-----BEGIN PRIVATE " + "KEY-----" + " " * 60, "eyJ,", "eyJaaaaaaaaaaaa.", "AccountKey=" + "a" * 80, ",sk-" + "a" * 70]
)
def test_a_text_made_to_be_slow_is_not(piece: str) -> None:
    """8 MiB of beginnings that lead nowhere: the work grows with the text, not with its square."""
    assert secrets.find((piece * (secrets.LIMIT // len(piece))).encode()) == []


HARMLESS = [
    "AKIAIOSFODNN7EXAMPLE", "hf_" + "x" * 34, "sk-" + "0" * 48, "export HF_TOKEN=hf_your_token_goes_here_and_nothing_else", "ghp_" + "a" * 36,
    "-----BEGIN PUBLIC KEY-----\n" + "A" * 64, "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----", "sha256:" + "ab12" * 16,
    "https://hooks.slack.com/services/", "eyJhbGciOiJIUzI1NiJ9", "task-abcdefghijklmnopqrstuvwxyz0123456789", "vocab: AKIA hf_ sk- ghp_",
]  # fmt: skip


@pytest.mark.parametrize("text", HARMLESS)
def test_examples_and_words_that_look_alike_are_no_secrets(text: str) -> None:
    assert secrets.find(text.encode()) == []


def test_a_finding_holds_nothing_of_the_secret() -> None:
    found = secrets.find(("\n".join(SAMPLES.values())).encode())
    assert {finding.rule for finding in found} == set(SAMPLES)
    assert all(secret[8:20] not in repr(found) for secret in SAMPLES.values())


@given(st.binary(max_size=2000))
@settings(max_examples=200, deadline=None)
def test_any_bytes_can_be_looked_through(data: bytes) -> None:
    assert all(1 <= finding.line <= data.count(b"\n") + 1 for finding in secrets.find(data))


@pytest.mark.parametrize("text, identity", [
    ("Apache License\n   Version 2.0, January 2004\n http://www.apache.org/licenses/", "apache-2.0"),
    ("MIT License\n\nPermission is hereby granted, free of charge, to any person obtaining a copy\n… THE SOFTWARE IS PROVIDED \"AS IS\"", "mit"),
    ("Redistributions of source code must retain … Redistributions in binary form must\nreproduce … Neither the name of the holder", "bsd-3-clause"),
    ("Redistributions of source code must retain … Redistributions in binary form must reproduce", "bsd-2-clause"),
    ("GNU GENERAL PUBLIC LICENSE\n Version 3, 29 June 2007", "gpl-3.0"),
    ("GNU AFFERO GENERAL PUBLIC LICENSE\n Version 3, 19 November 2007 … GNU General Public License", "agpl-3.0"),
    ("Creative Commons Attribution-NonCommercial 4.0 International", "cc-by-nc-4.0"),
    ("Creative Commons Attribution 4.0 International", "cc-by-4.0"),
    ("LLAMA 3.1 COMMUNITY LICENSE AGREEMENT", "llama3.1"),
    ("All rights reserved by Lantern Works.", ""),
])  # fmt: skip
def test_a_licence_is_known_by_its_text(text: str, identity: str) -> None:
    assert licences.of_text(text) == identity


def test_a_conflict_needs_two_known_licences() -> None:
    mit = 'Permission is hereby granted, free of charge, to any person obtaining a copy … the software is provided "as is"'
    assert licences.judged("apache-2.0", "LICENSE", mit).conflict == "the card says apache-2.0, and LICENSE is the text of mit"
    for card, text in (("mit", mit), ("other", mit), ("", mit), ("apache-2.0", "All rights reserved.")):
        assert licences.judged(card, "LICENSE", text).conflict == ""


def test_a_header_that_lies_is_no_header() -> None:
    lies = [
        b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 0),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1 << 50),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1) + b"k" + struct.pack("<IIQ", 9, 8, 1 << 40),
        b"GGUF" + struct.pack("<IQQ", 9, 0, 0),
        (20).to_bytes(8, "little") + b'{"a": {"dtype": 1}} ',
        (19).to_bytes(8, "little") + b'{"a": {"shape": 1}}',
        (9).to_bytes(8, "little") + b"{not json",
    ]
    for data in lies:
        with pytest.raises(tensors.NoHeader):
            tensors.read(io.BytesIO(data), len(data))
    assert tensors.read(io.BytesIO(b"text"), 4) is None


@given(st.binary(max_size=400))
@settings(max_examples=300, deadline=None)
def test_no_bytes_make_a_header_fall_over(data: bytes) -> None:
    for start in (b"", b"GGUF\x03\0\0\0", len(data).to_bytes(8, "little") + b"{"):
        try:
            tensors.read(io.BytesIO(start + data), len(start + data))
        except tensors.NoHeader:
            continue


@pytest.mark.parametrize("config, names, loads, task, processor", [
    ({"architectures": ["LlamaForCausalLM"]}, ["tokenizer.json"], "AutoModelForCausalLM", "text-generation", "AutoTokenizer"),
    ({"architectures": ["BertForMaskedLM"]}, ["vocab.txt"], "AutoModelForMaskedLM", "fill-mask", "AutoTokenizer"),
    ({"architectures": ["T5ForConditionalGeneration"], "model_type": "t5"}, [], "AutoModelForSeq2SeqLM", "text2text-generation", None),
    ({"architectures": ["WhisperForConditionalGeneration"], "model_type": "whisper"}, ["preprocessor_config.json"], "AutoModelForSpeechSeq2Seq", "automatic-speech-recognition", "AutoFeatureExtractor"),
    ({"architectures": ["ViTForImageClassification"]}, ["preprocessor_config.json"], "AutoModelForImageClassification", "image-classification", "AutoImageProcessor"),
    ({"architectures": ["TideModel"], "auto_map": {"AutoModel": "tide.TideModel"}}, [], "AutoModel", "feature-extraction", None),
])  # fmt: skip
def test_how_a_model_is_loaded_follows_from_its_architecture(
    config: dict[str, object], names: list[str], loads: str, task: str, processor: str | None
) -> None:
    info = about.transformers_info(config, names)
    assert info is not None
    assert (info["auto_model"], info["pipeline_tag"], info.get("processor")) == (loads, task, processor)


@pytest.mark.parametrize("document", [None, [], {"architectures": "x"}, {"architectures": []}, {"architectures": [1]}])
def test_a_config_without_an_architecture_says_nothing(document: object) -> None:
    assert about.transformers_info(document, ["config.json"]) is None
