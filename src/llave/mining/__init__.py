"""Hard negatives: found with a model among a data set's own targets."""
