"""What can be chosen of a run: typed, strict, every fault told at once."""
