"""Whether it helped: intervals and words, knowing nothing of faces or ratios."""
