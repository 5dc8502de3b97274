"""Tokens and keys that were written into files by mistake: which kind, in which line. What was found is never kept."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from itertools import islice

LIMIT = 8 << 20  # bytes of a file that are looked at
_MOST = 50  # findings of one file


@dataclass(frozen=True, slots=True)
class Rule:
    name: str
    marks: tuple[bytes, ...]  # one of them stands in every file that has such a secret: quick to look for
    pattern: re.Pattern[bytes]  # group 1 is the secret
    entropy: float = 0.0  # bits a character that the secret has at least; words and placeholders have less


@dataclass(frozen=True, slots=True)
class Finding:
    rule: str
    line: int


def _rule(name: str, marks: str, pattern: str, entropy: float = 3.0) -> Rule:
    return Rule(name, tuple(mark.encode() for mark in marks.split()), re.compile(pattern.encode()), entropy)


_END = r"(?![A-Za-z0-9_\-])"
_BEGIN = r"(?<![A-Za-z0-9_\-])"
RULES = (
    _rule("private-key", "PRIVATE", r"-----BEGIN (?:RSA |EC |DSA |OPENSSH |ENCRYPTED |PGP )?PRIVATE KEY(?: BLOCK)?-----(?:\s|\\[nr]){0,4}([A-Za-z0-9+/=:,.()\-\\\s]{60})", 3.5),
    _rule("aws-access-key", "AKIA ASIA", _BEGIN + r"((?:AKIA|ASIA)[A-Z2-7]{16})" + _END),
    _rule("aws-secret-key", "aws_secret AWS_SECRET SecretAccessKey", r"(?i:aws_?secret_?(?:access_?)?key|SecretAccessKey)\W{1,10}([A-Za-z0-9/+]{40})(?![A-Za-z0-9/+])", 4.0),
    _rule("github-token", "ghp_ gho_ ghu_ ghs_ ghr_", _BEGIN + r"(gh[pousr]_[A-Za-z0-9]{36,251})" + _END),
    _rule("github-token", "github_pat_", _BEGIN + r"(github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59})" + _END),
    _rule("gitlab-token", "glpat-", _BEGIN + r"(glpat-[A-Za-z0-9_\-]{20,64})" + _END),
    _rule("hugging-face-token", "hf_", _BEGIN + r"(hf_[A-Za-z0-9]{30,64})" + _END, 3.5),
    _rule("openai-key", "sk-", _BEGIN + r"(sk-(?:proj-|svcacct-|admin-)?[A-Za-z0-9_\-]{20,74}T3BlbkFJ[A-Za-z0-9_\-]{20,74})" + _END),
    _rule("openai-key", "sk-", _BEGIN + r"(sk-[A-Za-z0-9]{48})" + _END, 3.8),
    _rule("anthropic-key", "sk-ant-", _BEGIN + r"(sk-ant-(?:api|admin)\d\d-[A-Za-z0-9_\-]{80,110})" + _END),
    _rule("google-key", "AIza", _BEGIN + r"(AIza[A-Za-z0-9_\-]{35})" + _END),
    _rule("slack-token", "xox", _BEGIN + r"(xox[abeoprs]-(?:\d{8,15}-){1,3}[A-Za-z0-9\-]{10,64})" + _END),
    _rule("slack-webhook", "hooks.slack.com", r"(https://hooks\.slack\.com/(?:services|workflows)/T[A-Z0-9]{7,12}/[AB][A-Z0-9]{7,12}/[A-Za-z0-9]{20,32})"),
    _rule("stripe-key", "k_live_", _BEGIN + r"((?:sk|rk)_live_[A-Za-z0-9]{20,100})" + _END),
    _rule("npm-token", "npm_", _BEGIN + r"(npm_[A-Za-z0-9]{36})" + _END, 3.5),
    _rule("pypi-token", "pypi-AgEI", _BEGIN + r"(pypi-AgEI[A-Za-z0-9_\-]{50,250})"),
    _rule("sendgrid-key", "SG.", _BEGIN + r"(SG\.[A-Za-z0-9_\-]{22}\.[A-Za-z0-9_\-]{43})" + _END),
    _rule("azure-storage-key", "AccountKey=", r"AccountKey=([A-Za-z0-9+/]{86}==)"),
    _rule("wandb-key", "wandb WANDB", r"(?i:wandb_?(?:api_?)?key)\W{1,6}([0-9a-f]{40})(?![0-9a-f])"),
    _rule("json-web-token", "eyJ", _BEGIN + r"(eyJ[A-Za-z0-9_\-]{10,2000}\.eyJ[A-Za-z0-9_\-]{10,4000}\.[A-Za-z0-9_\-]{20,1000})" + _END, 4.0),
    _rule("lilong-token", "ll_", _BEGIN + r"(ll_[A-Za-z0-9_\-]{40,64})" + _END, 4.0),
)  # fmt: skip
# Written in documentation all over: they open nothing.
_EXAMPLES = re.compile(rb"(?i)example|x{6}|0{8}|1234567890|abcdefgh|your[_-]?(?:api|token|key|secret)|placeholder|dummy|redacted|changeme")


def find(data: bytes) -> list[Finding]:
    """The findings in a text, in the order of their lines."""
    found: set[tuple[int, str]] = set()
    for rule in RULES:
        if not any(mark in data for mark in rule.marks):
            continue
        line, counted = 1, 0
        for match in islice((m for m in rule.pattern.finditer(data) if _is_secret(rule, m[1])), _MOST):
            line += data.count(b"\n", counted, match.start(1))
            counted = match.start(1)
            found.add((line, rule.name))
    return [Finding(rule, line) for line, rule in sorted(found)][:_MOST]


def _is_secret(rule: Rule, text: bytes) -> bool:
    return not _EXAMPLES.search(text) and entropy(text) >= rule.entropy


def entropy(text: bytes) -> float:
    """Bits a character (Shannon 1948), of the text's own frequencies."""
    size = len(text)
    return -sum(count / size * math.log2(count / size) for count in Counter(text).values()) if size else 0.0
