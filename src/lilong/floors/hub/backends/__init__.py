"""Where the bytes of xorbs can lie. One conformance suite holds for all: `conformance.py`."""
