"""Policies: what is kept is decided from the signals alone, so a threshold can be tried, explained and audited without reading a text.

`policy` reads the files, `evaluation` decides, `comparison` tells what another policy or another limit would change.
"""
