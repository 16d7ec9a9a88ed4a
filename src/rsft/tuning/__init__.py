"""Training of a model from batches and a loss, independent of density ratios."""
