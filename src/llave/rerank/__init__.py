"""Rerankers: a query and a document read together, one score for the pair."""
