"""Unit tests mirror the source; the others go through the front door."""
