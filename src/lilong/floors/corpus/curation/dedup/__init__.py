"""Deduplication: what is there twice, exactly or nearly, among any number of documents and against a standing corpus.

`minhash.Signer.keys(texts)` gives each text its band keys; `clusters.cluster(documents, keys, prefer)` the table of clusters;
`standing.Standing(folder)` compares a contribution with what is there, and adds it. `lines` finds lines and paragraphs that many documents
share, `substring` repeated passages (needs pydivsufsort), `semantic` documents alike in meaning (needs model2vec and a model of the
user's). `recall.s_curve` measures how often planted pairs meet. Copies of a whole text need no machinery: they have the same id.
"""
