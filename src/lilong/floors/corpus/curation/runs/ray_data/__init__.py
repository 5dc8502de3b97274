"""A curation run on Ray, where one machine is too small: the same tables, byte for byte.

`cluster` finds the nodes and makes sure that they can work together; `stages` keeps what finished stages made; `tasks` are the functions that
Ray Data carries out on Arrow tables; `run` puts them in order. Every shuffle is Ray Data's.
"""
