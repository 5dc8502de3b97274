-- One row a repository, with all that a list shows and filters by.
ALTER TABLE hub_repositories ADD COLUMN gated TEXT NOT NULL DEFAULT '';          -- '' | auto | manual: who may have the files
ALTER TABLE hub_repositories ADD COLUMN card TEXT NOT NULL DEFAULT '{}';         -- JSON: the front matter of README.md on main
ALTER TABLE hub_repositories ADD COLUMN facts TEXT NOT NULL DEFAULT '{}';        -- JSON: what jobs found in main: safetensors, gguf, status
ALTER TABLE hub_repositories ADD COLUMN parameters INTEGER;                      -- of the model on main, as its files say
ALTER TABLE hub_repositories ADD COLUMN likes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE hub_repositories ADD COLUMN downloads INTEGER NOT NULL DEFAULT 0;
ALTER TABLE hub_repositories ADD COLUMN trending INTEGER NOT NULL DEFAULT 0;     -- downloads of the last week, and ten for each like
ALTER TABLE hub_repositories ADD COLUMN used_bytes INTEGER NOT NULL DEFAULT 0;   -- of all large files that it has ever held
ALTER TABLE hub_repositories ADD COLUMN last_number INTEGER NOT NULL DEFAULT 0;  -- of its discussions and pull requests
CREATE INDEX hub_repositories_created ON hub_repositories (kind, created_at);
CREATE INDEX hub_repositories_likes ON hub_repositories (kind, likes);
CREATE INDEX hub_repositories_downloads ON hub_repositories (kind, downloads);
CREATE TABLE hub_tags (             -- what a list filters by: words from the card and from what jobs found
    repository TEXT NOT NULL REFERENCES hub_repositories (id),
    tag TEXT NOT NULL,
    PRIMARY KEY (repository, tag)
);
CREATE INDEX hub_tags_tag ON hub_tags (tag, repository);
CREATE TABLE hub_downloads (        -- how often something of it was fetched on a day
    repository TEXT NOT NULL REFERENCES hub_repositories (id),
    day TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (repository, day)
);
CREATE TABLE hub_redirects (        -- old names of repositories that moved
    kind TEXT NOT NULL,
    organisation TEXT NOT NULL,
    name TEXT NOT NULL,
    repository TEXT NOT NULL REFERENCES hub_repositories (id),
    PRIMARY KEY (kind, organisation, name)
);
CREATE TABLE hub_namespaces (       -- what an organisation has said about its repositories; no row: nothing
    organisation TEXT PRIMARY KEY,
    private_by_default INTEGER NOT NULL DEFAULT 0,
    quota_bytes INTEGER             -- NULL: the house's own default
);
-- First-parent lines: the commits of a line have the depths from its first on; a fork opens a new line. What came last to a path is
-- then a maximum, and a page of history is a range.
ALTER TABLE hub_commits ADD COLUMN line INTEGER NOT NULL DEFAULT 0;
ALTER TABLE hub_commits ADD COLUMN depth INTEGER NOT NULL DEFAULT -1;            -- first parents before it; -1: not worked out yet
CREATE INDEX hub_commits_line ON hub_commits (repository, line, depth);
CREATE TABLE hub_lines (
    repository TEXT NOT NULL REFERENCES hub_repositories (id),
    line INTEGER NOT NULL,
    parent_line INTEGER,            -- where it forked off; NULL: from nothing
    parent_depth INTEGER,
    PRIMARY KEY (repository, line)
);
CREATE TABLE hub_changes (          -- which commits changed a path, file or folder
    repository TEXT NOT NULL REFERENCES hub_repositories (id),
    path TEXT NOT NULL,
    line INTEGER NOT NULL,
    depth INTEGER NOT NULL,
    PRIMARY KEY (repository, path, line, depth)
);
CREATE TABLE hub_manifests (        -- worked out when first asked for: it takes in all files of a revision
    tree TEXT PRIMARY KEY,
    manifest TEXT NOT NULL
);
CREATE TABLE hub_inline (           -- the bytes of small regular files
    digest TEXT PRIMARY KEY,
    size INTEGER NOT NULL,
    content BLOB NOT NULL,
    at TEXT NOT NULL                -- when it came: what no tree names is collected later
);
CREATE INDEX hub_inline_at ON hub_inline (at);
CREATE INDEX hub_commits_tree ON hub_commits (tree);
CREATE INDEX hub_manifests_manifest ON hub_manifests (manifest);
-- The Xet content store. Hashes are written as Xet writes them: four little-endian 64-bit words in hex.
CREATE TABLE hub_xorbs (
    hash TEXT PRIMARY KEY,
    size INTEGER NOT NULL,          -- bytes as stored: chunks with their headers
    length INTEGER NOT NULL,        -- bytes of the chunks' contents
    chunks BLOB NOT NULL,           -- 40 bytes each: hash (32), length of the content (u32), end in the stored bytes (u32), little-endian
    state TEXT NOT NULL,            -- live | gone (a tombstone: it may come again)
    touched_at TEXT NOT NULL        -- last uploaded, or named in an answer to a client
);
CREATE TABLE hub_xorb_uploads (     -- who has sent a xorb: proof that they had its bytes
    xorb TEXT NOT NULL,
    user_name TEXT NOT NULL,
    PRIMARY KEY (xorb, user_name)
);
CREATE TABLE hub_xet_files (
    hash TEXT PRIMARY KEY,
    digest TEXT NOT NULL,           -- sha256:… of the content, worked out here
    size INTEGER NOT NULL,
    terms BLOB NOT NULL,            -- msgpack: [[xorb, first chunk, chunk after the last, bytes], …]
    created_at TEXT NOT NULL
);
CREATE INDEX hub_xet_files_digest ON hub_xet_files (digest);
CREATE TABLE hub_xorb_files (       -- which files have terms in a xorb
    xorb TEXT NOT NULL,
    file TEXT NOT NULL,             -- hash of the file
    PRIMARY KEY (xorb, file)
);
CREATE TABLE hub_chunks (           -- only the chunks that clients ask for: the first of a file, and one in 1,024
    hash TEXT NOT NULL,
    xorb TEXT NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (hash, xorb)
);
CREATE INDEX hub_chunks_xorb ON hub_chunks (xorb);
CREATE INDEX hub_xorb_files_file ON hub_xorb_files (file);
CREATE INDEX hub_uploads_at ON hub_uploads (at);
