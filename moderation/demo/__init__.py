"""A generated world and a small model that was trained on it.

It lets the whole pipeline run, and be judged, on a machine without network, GPU or data:
`world` draws scenes, `captions` describes them rightly or wrongly, `posts` makes posts and
labels of them, and `MODEL_NAME` names an ordinary open_clip model that can tell which is which.
"""

from pathlib import Path

MODEL_NAME = "demo-tiny"
MODEL_CONFIG = Path(__file__).with_name("demo-tiny.json")
MODEL_WEIGHTS = Path(__file__).with_name("demo-tiny.safetensors")
MODEL_CALIBRATION = Path(__file__).with_name("demo-tiny.calibration.json")
