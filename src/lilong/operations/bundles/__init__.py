"""Evidence to take away: bundles that anyone can check, and the check of a whole house."""
