"""Contrastive losses. ``functional`` needs torch alone; ``hardness`` is the sentence-transformers form."""
