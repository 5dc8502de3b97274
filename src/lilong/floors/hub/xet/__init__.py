"""The Xet formats: hashes, xorbs (bytes in chunks) and shards (which chunks make which file). Pure: bytes in, bytes out."""
