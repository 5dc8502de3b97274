-- Buckets: files without history, known by their Xet hash.
CREATE TABLE hub_buckets (
    id TEXT PRIMARY KEY,
    organisation TEXT NOT NULL,
    name TEXT NOT NULL,             -- without the organisation
    private INTEGER NOT NULL,
    files INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0,
    created_by TEXT NOT NULL,
    created_at TEXT NOT NULL
);
CREATE UNIQUE INDEX hub_buckets_name ON hub_buckets (organisation, lower(name));
CREATE TABLE hub_bucket_files (
    bucket TEXT NOT NULL REFERENCES hub_buckets (id),
    path TEXT NOT NULL,
    xet_hash TEXT NOT NULL,
    digest TEXT NOT NULL,           -- sha256:… of the content
    size INTEGER NOT NULL,
    mtime TEXT NOT NULL,            -- as the client gave it; empty: it gave none
    content_type TEXT NOT NULL,
    uploaded_at TEXT NOT NULL,
    PRIMARY KEY (bucket, path)
);
CREATE INDEX hub_bucket_files_xet ON hub_bucket_files (xet_hash);
CREATE INDEX hub_bucket_files_digest ON hub_bucket_files (digest);
CREATE TABLE hub_bucket_redirects ( -- old names of buckets that moved
    organisation TEXT NOT NULL,
    name TEXT NOT NULL,
    bucket TEXT NOT NULL REFERENCES hub_buckets (id),
    PRIMARY KEY (organisation, name)
);
