"""Tables and token shards: what leaves a run.

`tables` writes Parquet whose bytes depend on the rows alone; `tokens` writes tokenised text as memory-mapped shards.
"""
