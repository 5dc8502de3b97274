"""The examination of one model: a suite of texts, the kernels that compare logits, and the run over all stacks."""
