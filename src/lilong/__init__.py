"""Lilong: a foundation-model innovation centre's platform, from raw text to a served, verifiable model."""

__version__ = "0.1.0"
