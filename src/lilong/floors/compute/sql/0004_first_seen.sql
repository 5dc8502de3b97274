ALTER TABLE compute_sites ADD COLUMN first_seen TEXT;  -- before that nobody knows what was free there
UPDATE compute_sites SET first_seen = COALESCE((SELECT MIN(intended_at) FROM compute_attempts WHERE site = compute_sites.name), seen_at);
