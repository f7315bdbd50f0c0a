import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "scripts"))
if "LGW_CLIENT" in os.environ:
    sys.path.insert(0, os.environ["LGW_CLIENT"])
