"""A year of traffic whose truth is known, through the real tables and estimators."""
