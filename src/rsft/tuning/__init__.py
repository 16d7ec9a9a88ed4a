"""The training half: it takes batches and a loss, and knows nothing of ratios."""
