ALTER TABLE ground_users ADD COLUMN email TEXT;
ALTER TABLE ground_organisations ADD COLUMN personal INTEGER NOT NULL DEFAULT 0;     -- 1: the namespace of the user with the same name
ALTER TABLE ground_tokens ADD COLUMN last_used_at TEXT;                              -- to the minute
CREATE INDEX ground_users_lower ON ground_users (lower(name));
CREATE INDEX ground_organisations_lower ON ground_organisations (lower(name));
