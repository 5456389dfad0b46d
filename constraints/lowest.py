"""Prints what the extras, the tests and the packages ask for, each at its lowest version, as constraints for pip.

torch has the version of the tests: its lower versions exist for x86-64 as CUDA builds only.
"""

import re
import tomllib
from pathlib import Path

root, *packages = [
    tomllib.loads(file.read_text(encoding="utf-8"))
    for file in (Path("pyproject.toml"), *Path("packages").glob("*/pyproject.toml"))
]
groups = [package["project"]["dependencies"] for package in packages]
groups += [*root["project"]["optional-dependencies"].values(), root["dependency-groups"]["test"]]  # the last word on torch
bounds = [re.match(r"([\w-]+)(?:\[.*\])?[>=]=([\d.*]+)", requirement) for group in groups for requirement in group]
lowest = {bound[1]: bound[2] for bound in bounds if bound and bound[1] != "hardfirst"}
print("\n".join(f"{name}=={version}" for name, version in sorted(lowest.items())))
