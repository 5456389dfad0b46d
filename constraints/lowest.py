"""Prints what the extras and the tests ask for, each at its lowest version, as constraints for pip.

torch has the version of the tests: its lower versions exist for x86-64 as CUDA builds only.
"""

import re
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
groups = [*project["project"]["optional-dependencies"].values(), project["dependency-groups"]["test"]]
bounds = [re.match(r"([\w-]+)(?:\[.*\])?[>=]=([\d.*]+)", requirement) for group in groups for requirement in group]
lowest = {bound[1]: bound[2] for bound in bounds if bound}
print("\n".join(f"{name}=={version}" for name, version in sorted(lowest.items())))
