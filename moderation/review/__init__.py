"""The desk: where people look at cases and decide."""
