"""Run by Python when it starts: OpenVINO cannot be imported."""

import sys

sys.modules["openvino"] = None  # type: ignore[assignment]
