"""Limits of the losses' settings, for those who check a recipe before torch is imported."""

__all__ = ["LEARNED_TEMPERATURE"]

LEARNED_TEMPERATURE = (0.01, 1.0)
"""The lowest and the highest learned temperature: CLIP's limit of 100 for its inverse, and plain cosines."""
