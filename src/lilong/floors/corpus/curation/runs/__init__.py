"""A curation run: local files in, tables out, the same bytes for any number of workers, any order of inputs and any number of interruptions.

`engine.curate` reads the inputs in batches; workers measure each batch (`batch`) and leave content-addressed files, which a journal
lists (`durable`); then buckets of documents whose ids begin alike are merged, decided and turned into rows (`bucket`), clustered across
buckets and written (`gather`). `ray_data` does all that on a cluster. `results` answers questions about a finished run; `profiles` says
what is measured.
"""
