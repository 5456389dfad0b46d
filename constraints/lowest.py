"""Print each dependency of the extras and of the packages at its lowest version, as constraints for pip.

torch is left out: its lower versions exist for x86-64 as CUDA builds only.
"""

import re
import tomllib
from pathlib import Path

root, *packages = [
    tomllib.loads(file.read_text(encoding="utf-8"))["project"]
    for file in (Path("pyproject.toml"), *Path("packages").glob("*/pyproject.toml"))
]
extras = root["optional-dependencies"]
needs = {need for extra in extras.keys() - {"check", "docs", "package"} for need in extras[extra]}
needs |= {need for package in packages for need in package["dependencies"]}
lowest = {match[1]: match[2] for need in needs if (match := re.match(r"([\w-]+)(?:\[.*\])?>=([\d.]+)", need))}
print("\n".join(f"{name}=={version}" for name, version in sorted(lowest.items()) if name not in ("torch", "hardfirst")))
