CREATE TABLE hub_tag_objects (      -- annotated tags, so that a clone has them as they were pushed
    repository TEXT NOT NULL REFERENCES hub_repositories (id),
    name TEXT NOT NULL,             -- refs/tags/…
    id TEXT NOT NULL,               -- git's id of the tag object
    target TEXT NOT NULL,           -- the commit
    at TEXT NOT NULL,               -- hub_refs.updated_at as the push set it: a ref set since then by other means has no tag object
    content BLOB NOT NULL,          -- git's bytes
    PRIMARY KEY (repository, name)
);
