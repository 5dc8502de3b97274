"""The chain: a short file that describes a whole run from raw text to a served model, which the house carries out and proves."""
