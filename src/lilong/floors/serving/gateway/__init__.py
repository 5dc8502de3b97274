"""The gateway's data path: one raw ASGI application, its own upstream client, and a meter that survives `kill -9`.

Nothing here imports a web framework, a validation library or a database. The control plane hands over an immutable
`Snapshot`; the gateway hands back receipts in append-only segments.
"""
