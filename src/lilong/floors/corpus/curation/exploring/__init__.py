"""Looking into a finished version: its tables are Parquet files of up to millions of rows, of which a question reads only the columns and
row groups that it needs.

`tables` reads; `documents` lists and filters; `search` looks for words; `verdicts` tells why; `signals` counts a signal and tries limits;
`alike` shows duplicates side by side.
"""

SHOWN = 20
"""Documents on one page of results."""
LONGEST = 200
"""Characters that can be searched for."""
CLUSTERS = 25
"""Clusters on one page."""
