"""Tables looked into without downloading them: Parquet, JSON lines and CSV by DuckDB, in a program of their own that may be killed."""
