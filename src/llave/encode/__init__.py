"""The way of an item to its vector: every training row, benchmark candidate, file of a folder and request takes it."""
