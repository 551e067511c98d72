"""Run every benchmark with the arguments given, one after the other."""

import subprocess
import sys
from pathlib import Path

for script in sorted(Path(__file__).parent.glob("*/run.py")):
    print(f"== {script.parent.name}", flush=True)
    subprocess.run([sys.executable, str(script), *sys.argv[1:]], check=True)
