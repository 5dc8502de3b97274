"""A curation run: local files in, tables out, the same bytes for any number of workers, any order of inputs and any number of interruptions.

`engine.curate` reads the inputs in batches; workers measure each batch (`batch`) and leave content-addressed files, which a journal
lists (`durable`); `gather` merges them by document id, decides, clusters and writes the tables; `results` answers questions about a
finished run. `profiles` says what is measured.
"""
