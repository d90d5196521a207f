"""The HTTP API: platforms hand submissions in and read verdicts."""
