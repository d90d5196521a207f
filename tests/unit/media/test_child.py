"""What a decoder process loads: enough to decode, and nothing that it could be made to run."""

import subprocess
import sys


def test_a_decoder_loads_little() -> None:
    """No numpy or torch, which start slowly; no plugin that runs programs; nothing of the net."""
    script = "import sys, moderation.media.child; print(*sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-I", "-c", script],
        capture_output=True,
        check=True,
        text=True,
        timeout=120,
    )
    unwanted = {"numpy", "torch", "socket", "httpx", "PIL.EpsImagePlugin", "PIL.ImageShow"}
    assert unwanted.isdisjoint(ended.stdout.split())
