"""What the hub decides, without looking anywhere: names of refs, which files it takes and how git sees them, what a card says."""
