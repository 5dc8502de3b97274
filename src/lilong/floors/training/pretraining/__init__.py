"""Continued pre-training on one machine: passages, packing, loss, checkpoints, the loop."""
