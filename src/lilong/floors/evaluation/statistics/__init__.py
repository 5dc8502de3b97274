"""Intervals, paired tests and power for small evaluations. Pure functions of numbers: numpy and scipy.special, no torch."""
