"""Model files: GGUF to safetensors and back, and the model card. Pure functions of files; no clock, no network."""
