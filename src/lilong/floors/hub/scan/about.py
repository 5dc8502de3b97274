"""What a model is, from its config.json and the names of its files: the facts by which clients choose how to load it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

_NAME = 200  # characters of a word that is passed on

# The end of an architecture's name -> (class that loads it, task)
_HEADS: tuple[tuple[str, str, str], ...] = (
    ("ForCausalLM", "AutoModelForCausalLM", "text-generation"),
    ("LMHeadModel", "AutoModelForCausalLM", "text-generation"),
    ("ForSequenceClassification", "AutoModelForSequenceClassification", "text-classification"),
    ("ForTokenClassification", "AutoModelForTokenClassification", "token-classification"),
    ("ForQuestionAnswering", "AutoModelForQuestionAnswering", "question-answering"),
    ("ForMultipleChoice", "AutoModelForMultipleChoice", "multiple-choice"),
    ("ForMaskedLM", "AutoModelForMaskedLM", "fill-mask"),
    ("ForImageClassification", "AutoModelForImageClassification", "image-classification"),
    ("ForObjectDetection", "AutoModelForObjectDetection", "object-detection"),
    ("ForSemanticSegmentation", "AutoModelForSemanticSegmentation", "image-segmentation"),
    ("ForDepthEstimation", "AutoModelForDepthEstimation", "depth-estimation"),
    ("ForAudioClassification", "AutoModelForAudioClassification", "audio-classification"),
    ("ForSpeechSeq2Seq", "AutoModelForSpeechSeq2Seq", "automatic-speech-recognition"),
    ("ForCTC", "AutoModelForCTC", "automatic-speech-recognition"),
    ("ForTextToWaveform", "AutoModelForTextToWaveform", "text-to-audio"),
    ("ForPreTraining", "AutoModelForPreTraining", "feature-extraction"),
    ("Model", "AutoModel", "feature-extraction"),
)
_LIBRARIES = (
    ("adapter_config.json", "peft"),
    ("model_index.json", "diffusers"),
    ("config_sentence_transformers.json", "sentence-transformers"),
    ("modules.json", "sentence-transformers"),
    ("open_clip_config.json", "open_clip"),
)
_FORMATS = {
    ".parquet": "parquet",
    ".jsonl": "json",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "text",
    ".arrow": "arrow",
    ".tar": "webdataset",
}
_SKIPPED = {"README.md", ".gitattributes", ".gitignore", "dataset_infos.json", "config.json"}


def config(document: Any) -> dict[str, Any]:
    """The few keys of a config.json that model info carries."""
    if not isinstance(document, dict):
        return {}
    kept: dict[str, Any] = {}
    architectures = document.get("architectures")
    if isinstance(architectures, list):
        kept["architectures"] = [word[:_NAME] for word in architectures[:20] if isinstance(word, str)]
    if isinstance(document.get("model_type"), str):
        kept["model_type"] = document["model_type"][:_NAME]
    quantised = document.get("quantization_config")
    if isinstance(quantised, dict):
        kept["quantization_config"] = {key: quantised[key] for key in ("quant_method", "bits") if isinstance(quantised.get(key), str | int)}
    mapped = document.get("auto_map")
    if isinstance(mapped, dict):
        kept["auto_map"] = {str(key)[:_NAME]: value[:_NAME] for key, value in list(mapped.items())[:20] if isinstance(value, str)}
    return kept


def transformers_info(document: Any, names: Collection[str]) -> dict[str, str] | None:
    """How `transformers` loads it; None where config.json names no architecture. `names` are the files beside it."""
    kept = config(document)
    architecture = next(iter(kept.get("architectures", ())), "")
    if not architecture:
        return None
    auto, task = "AutoModel", ""
    if architecture.endswith("ForConditionalGeneration"):
        auto, task = _conditional(document)
    else:
        for end, model, name in _HEADS:
            if architecture.endswith(end):
                auto, task = model, name
                break
    info = {"auto_model": auto}
    mapped = kept.get("auto_map", {}).get(auto)
    if mapped:
        info["custom_class"] = mapped
    if task:
        info["pipeline_tag"] = task
    if "processor_config.json" in names or (("preprocessor_config.json" in names) and "tokenizer_config.json" in names):
        info["processor"] = "AutoProcessor"
    elif "preprocessor_config.json" in names:
        info["processor"] = "AutoFeatureExtractor" if "audio" in task or "speech" in task else "AutoImageProcessor"
    elif {"tokenizer_config.json", "tokenizer.json", "tokenizer.model", "vocab.txt"} & set(names):
        info["processor"] = "AutoTokenizer"
    return info


def _conditional(document: Mapping[str, Any]) -> tuple[str, str]:
    kind = str(document.get("model_type", ""))
    if "vision_config" in document:
        return "AutoModelForImageTextToText", "image-text-to-text"
    if "whisper" in kind or "speech" in kind:
        return "AutoModelForSpeechSeq2Seq", "automatic-speech-recognition"
    return "AutoModelForSeq2SeqLM", "text2text-generation"


def library(document: Any, names: Collection[str]) -> str:
    """The library that the files are for; empty where they do not tell."""
    for name, word in _LIBRARIES:
        if name in names:
            return word
    if config(document).get("architectures"):
        return "transformers"
    return "gguf" if any(name.endswith(".gguf") for name in names) else ""


def model_tags(document: Any, names: Collection[str], info: Mapping[str, str] | None) -> list[str]:
    """What the files themselves say in tags."""
    kept = config(document)
    tags = [word for word, end in (("safetensors", ".safetensors"), ("gguf", ".gguf"), ("onnx", ".onnx"), ("pytorch", ".bin"), ("tflite", ".tflite"))
            if any(name.endswith(end) for name in names)]  # fmt: skip
    if word := library(document, names):
        tags.append(word)
    if kept.get("model_type"):
        tags.append(kept["model_type"])
    if info and info.get("pipeline_tag"):
        tags.append(info["pipeline_tag"])
    if kept.get("auto_map"):
        tags.append("custom_code")
    method = kept.get("quantization_config", {}).get("quant_method")
    if isinstance(method, str):
        tags.append(method[:_NAME])
    if isinstance(kept.get("quantization_config", {}).get("bits"), int):
        tags.append(f"{kept['quantization_config']['bits']}-bit")
    return list(dict.fromkeys(tags))


def dataset_tags(names: Iterable[str]) -> list[str]:
    """The formats of a dataset's files."""
    found: dict[str, None] = {}
    for name in names:
        plain = name.lower().removesuffix(".gz").removesuffix(".zst")
        if name.rsplit("/", 1)[-1] in _SKIPPED:
            continue
        for end, word in _FORMATS.items():
            if plain.endswith(end):
                found[f"format:{word}"] = None
    return sorted(found)


def evaluations(document: Any) -> list[dict[str, Any]]:
    """The entries of one `.eval_results/*.yaml`, those that are well-formed."""
    entries = document if isinstance(document, list) else [document]
    kept = []
    for entry in entries[:1000]:
        dataset = entry.get("dataset") if isinstance(entry, dict) else None
        if (
            isinstance(dataset, dict)
            and isinstance(dataset.get("id"), str)
            and isinstance(dataset.get("task_id"), str)
            and "value" in entry
        ):
            kept.append(entry)
    return kept
