"""Files in, documents out: JSONL, Parquet, WARC, HTML, reStructuredText, man pages, Markdown, plain text, EPUB, and what a converter reads.

`inputs.find` lists files, `cutting.cut` takes each apart into parts of bounded size (cheap, in order, in one process), and
`records.read` makes documents of a part (in any process). What cannot be read is a `Problem`: counted and named, never passed over.
"""
