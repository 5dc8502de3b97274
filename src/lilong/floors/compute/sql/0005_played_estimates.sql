-- What the futures alone came to, where what was told had been stretched by how such words held before. NULL: it was told as they came out.
ALTER TABLE compute_estimates ADD COLUMN played50 TEXT;
ALTER TABLE compute_estimates ADD COLUMN played90 TEXT;
