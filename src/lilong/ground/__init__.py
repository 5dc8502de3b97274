"""What three floors or more need, and nothing else. Knows no floor."""
