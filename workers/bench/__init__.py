"""The benchmark: how fast the scoring path is, as ratios within one run."""
