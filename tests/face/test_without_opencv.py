"""OpenCV comes with the extra `demo` alone: what reads no face must start without it."""

import subprocess
import sys

MODULES = ["forget", "check", "models", "adaptation", "evaluation", "networks", "runs"]


def test_modules_that_read_no_face_are_imported_without_opencv() -> None:
    code = "; ".join(["import sys", "sys.modules['cv2'] = None", *(f"import rsft.face.{module}" for module in MODULES)])
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
