CREATE TABLE hub_repositories (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,             -- model | dataset
    organisation TEXT NOT NULL,
    name TEXT NOT NULL,             -- without the organisation
    private INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL        -- of the newest commit
);
CREATE UNIQUE INDEX hub_repositories_name ON hub_repositories (kind, organisation, lower(name));
CREATE INDEX hub_repositories_updated ON hub_repositories (kind, updated_at);
CREATE TABLE hub_trees (
    id TEXT PRIMARY KEY,            -- git's id of the tree
    entries BLOB NOT NULL           -- msgpack: [[name, mode, id, digest, size, large], …]
);
CREATE TABLE hub_commits (
    repository TEXT NOT NULL REFERENCES hub_repositories (id),
    id TEXT NOT NULL,               -- git's id of the commit
    tree TEXT NOT NULL REFERENCES hub_trees (id),
    parent TEXT,                    -- the first parent
    manifest TEXT NOT NULL,         -- root of the model-signing manifest over the files
    author TEXT NOT NULL,
    message TEXT NOT NULL,          -- title, empty line, description
    at TEXT NOT NULL,
    content BLOB NOT NULL,          -- git's canonical bytes
    PRIMARY KEY (repository, id)
);
CREATE INDEX hub_commits_manifest ON hub_commits (manifest, at);
CREATE TABLE hub_refs (
    repository TEXT NOT NULL REFERENCES hub_repositories (id),
    name TEXT NOT NULL,             -- refs/heads/…, refs/tags/…
    target TEXT NOT NULL,           -- a commit
    message TEXT NOT NULL,          -- of a tag
    updated_at TEXT NOT NULL,
    PRIMARY KEY (repository, name)
);
CREATE TABLE hub_contents (         -- the large files that a repository has ever held: who may read one may name it in a commit
    digest TEXT NOT NULL,
    repository TEXT NOT NULL REFERENCES hub_repositories (id),
    size INTEGER NOT NULL,
    PRIMARY KEY (digest, repository)
);
CREATE INDEX hub_contents_repository ON hub_contents (repository);
CREATE TABLE hub_uploads (          -- proof that a user once had these bytes
    digest TEXT NOT NULL,
    user_name TEXT NOT NULL,
    size INTEGER NOT NULL,
    at TEXT NOT NULL,
    PRIMARY KEY (digest, user_name)
);
