"""What a submission is, and what becomes of it. Start reading at `types.py`."""
