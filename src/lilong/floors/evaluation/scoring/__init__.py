"""Scores models on held-out text and multiple-choice items, and searches training text for test items."""
