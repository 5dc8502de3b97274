"""The few functions of llama.h that full logits need, called in the library that the wheel `xllamacpp` carries.

Parameter structures change between versions of llama.cpp. They are never spelled out here: the library fills in its defaults, they are
passed on as an opaque block (both x86-64 System V and AArch64 pass such a block in memory, so a longer one is harmless), and only the
first three fields of llama_context_params (n_ctx, n_batch, n_ubatch) are set; the caller reads them back to be sure.
"""

from __future__ import annotations

import ctypes as c
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class _Params(c.Structure):
    _fields_ = (("block", c.c_uint32 * 256),)


class _Batch(c.Structure):
    _fields_ = (
        ("n_tokens", c.c_int32),
        ("token", c.POINTER(c.c_int32)),
        ("embd", c.c_void_p),
        ("pos", c.POINTER(c.c_int32)),
        ("n_seq_id", c.POINTER(c.c_int32)),
        ("seq_id", c.POINTER(c.POINTER(c.c_int32))),
        ("logits", c.POINTER(c.c_int8)),
    )


_POINTER, _INT, _TEXT, _FLAG = c.c_void_p, c.c_int32, c.c_char_p, c.c_bool

_SIGNATURES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "llama_version": (_TEXT, ()),
    "llama_print_system_info": (_TEXT, ()),
    "llama_backend_init": (None, ()),
    "llama_model_default_params": (_Params, ()),
    "llama_context_default_params": (_Params, ()),
    "llama_model_load_from_file": (_POINTER, (_TEXT, _Params)),
    "llama_init_from_model": (_POINTER, (_POINTER, _Params)),
    "llama_model_get_vocab": (_POINTER, (_POINTER,)),
    "llama_model_meta_val_str": (_INT, (_POINTER, _TEXT, _TEXT, c.c_size_t)),
    "llama_vocab_n_tokens": (_INT, (_POINTER,)),
    "llama_n_ctx": (c.c_uint32, (_POINTER,)),
    "llama_n_batch": (c.c_uint32, (_POINTER,)),
    "llama_set_n_threads": (None, (_POINTER, _INT, _INT)),
    "llama_tokenize": (_INT, (_POINTER, _TEXT, _INT, c.POINTER(_INT), _INT, _FLAG, _FLAG)),
    "llama_batch_init": (_Batch, (_INT, _INT, _INT)),
    "llama_batch_free": (None, (_Batch,)),
    "llama_decode": (_INT, (_POINTER, _Batch)),
    "llama_get_logits_ith": (_POINTER, (_POINTER, _INT)),
    "llama_get_memory": (_POINTER, (_POINTER,)),
    "llama_memory_clear": (None, (_POINTER, _FLAG)),
}


class Library:
    """Raises ImportError where the wheel is missing or does not export llama.h."""

    def __init__(self) -> None:
        import xllamacpp.xllamacpp as binary

        self._lib = c.CDLL(binary.__file__)
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(self._lib, name, None)
            if function is None:
                raise ImportError(f"this build of xllamacpp does not export {name}")
            function.restype, function.argtypes = result, arguments

    def __getattr__(self, name: str) -> Any:
        if name not in _SIGNATURES:
            raise AttributeError(name)
        return getattr(self._lib, name)

    def backend_init(self) -> None:
        self._lib.llama_backend_init()

    def version(self) -> str:
        return str(self._lib.llama_version().decode())

    def system_info(self) -> str:
        return str(self._lib.llama_print_system_info().decode()).strip(" |")

    def load_model(self, file: Path) -> Any:
        return self._lib.llama_model_load_from_file(str(file).encode(), self._lib.llama_model_default_params())

    def new_context(self, model: Any, tokens: int, batch: int) -> Any:
        params = self._lib.llama_context_default_params()
        params.block[0], params.block[1], params.block[2] = tokens, batch, batch
        return self._lib.llama_init_from_model(model, params)

    def meta(self, model: Any, key: str) -> str:
        buffer = c.create_string_buffer(256)
        return buffer.value.decode() if self._lib.llama_model_meta_val_str(model, key.encode(), buffer, len(buffer)) >= 0 else ""

    def tokenize(self, vocab: Any, text: str) -> list[int]:
        """Without added special tokens; those that stand in the text are recognised, as tokenizer.json's library does."""
        data = text.encode()
        buffer = (c.c_int32 * (len(data) + 16))()
        count = self._lib.llama_tokenize(vocab, data, len(data), buffer, len(buffer), False, True)
        return buffer[:count] if count > 0 else []

    def forget(self, context: Any) -> None:
        self._lib.llama_memory_clear(self._lib.llama_get_memory(context), True)

    def decode(self, context: Any, tokens: Sequence[int], start: int, *, every: bool) -> int:
        """Feed tokens at positions from `start`; keep the logits of every one, or of the last. Returns llama_decode's status."""
        batch = self._lib.llama_batch_init(len(tokens), 0, 1)
        try:
            for index, token in enumerate(tokens):
                batch.token[index], batch.pos[index], batch.n_seq_id[index] = token, start + index, 1
                batch.seq_id[index][0] = 0
                batch.logits[index] = every or index == len(tokens) - 1
            batch.n_tokens = len(tokens)
            return int(self._lib.llama_decode(context, batch))
        finally:
            self._lib.llama_batch_free(batch)
