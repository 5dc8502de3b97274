"""A corpus version: archives with licence evidence in, the files of a dataset revision out.

`sources.SourceReading` gives the engine what the archives hold; `making.make` turns the engine's run into documents split by family
(`families`), tables, accounts of sources and contributors (`accounts`), and figures.
"""
