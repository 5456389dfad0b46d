"""Prints what the extras ask for, each at its lowest version, as constraints for pip.

torch is not among it: its lower versions exist for x86-64 as CUDA builds only.
"""

import re
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
extras = project["optional-dependencies"]
needs = {need for extra in extras.keys() - {"check", "docs", "package"} for need in extras[extra]}
lowest = {found[1]: found[2] for need in needs if (found := re.match(r"([\w-]+)(?:\[.*\])?>=([\d.]+)", need))}
print("\n".join(f"{name}=={version}" for name, version in sorted(lowest.items())))
