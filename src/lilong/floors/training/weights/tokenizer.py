"""A tokenizer.json out of a GGUF's vocabulary: byte-level BPE with the pre-tokenisers whose rules are known here."""

from __future__ import annotations

import json
from typing import Any

from lilong.floors.training.contract import UnsupportedModel
from lilong.floors.training.weights.gguf_file import GgufFile

_CONTROL, _USER_DEFINED = 3, 4
_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
# llama.cpp's names for the splitting rules (llama-vocab.cpp): 'smollm' is GPT-2's after every digit has been set apart
_PRE_TOKENISERS: dict[str, dict[str, Any]] = {
    "gpt-2": _BYTE_LEVEL,
    "smollm": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, _BYTE_LEVEL]},
}
_ROLES = {"bos_token": "bos_token_id", "eos_token": "eos_token_id", "unk_token": "unknown_token_id", "pad_token": "padding_token_id"}


def tokenizer_files(model: GgufFile) -> dict[str, str]:
    """The texts of `tokenizer.json` and `tokenizer_config.json` (with the chat template, if the model has one).

    Raises UnsupportedModel for another kind of tokenizer, or when the model wants a token put before every text.
    """
    kind, split = model.need("tokenizer.ggml.model"), model.value("tokenizer.ggml.pre", "gpt-2")
    if kind != "gpt2" or split not in _PRE_TOKENISERS:
        raise UnsupportedModel(model.path.name, f"its tokenizer is '{kind}' with the pre-tokeniser '{split}'")
    if model.value("tokenizer.ggml.add_bos_token", False) or model.value("tokenizer.ggml.add_space_prefix", False):
        raise UnsupportedModel(model.path.name, "its tokenizer puts something before every text")
    tokens: list[str] = model.need("tokenizer.ggml.tokens")
    types: list[int] = model.value("tokenizer.ggml.token_type", [1] * len(tokens))
    added = [
        {
            "id": i,
            "content": tokens[i],
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": kind == _CONTROL,
        }
        for i, kind in enumerate(types)
        if kind in (_CONTROL, _USER_DEFINED)
    ]
    whole = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": _PRE_TOKENISERS[split],
        "post_processor": None,
        "decoder": _BYTE_LEVEL,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: i for i, token in enumerate(tokens)},
            "merges": [merge.split(" ", 1) for merge in model.need("tokenizer.ggml.merges")],
        },
    }
    settings: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",  # takes tokenizer.json as it is
        "clean_up_tokenization_spaces": False,
        "model_max_length": model.need("llama.context_length"),
        "add_prefix_space": False,
    }
    for role, key in _ROLES.items():
        number = model.value(f"tokenizer.ggml.{key}")
        if number is not None:
            settings[role] = tokens[number]
    if template := model.value("tokenizer.chat_template"):
        settings["chat_template"] = template
    return {
        "tokenizer.json": json.dumps(whole, ensure_ascii=False, indent=1) + "\n",
        "tokenizer_config.json": json.dumps(settings, ensure_ascii=False, indent=2) + "\n",
    }
