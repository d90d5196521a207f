"""How well people and thresholds do: pure figures, each with what it is known to."""
