"""Writes constraints/lock.txt from pip's report of an installation, and prints what has changed: `make lock`.

The lock has one version of every package. torch is the exception: any patch release of one minor version will do, so that
each machine takes the build that suits it. Packages that only torch's CUDA builds require are left out.
"""

import json
import re
import sys
from pathlib import Path

LOCK = Path(__file__).with_name("lock.txt")
CUDA = ("cuda-", "nvidia-", "triton")


def pin(name: str, version: str) -> str:
    """A line of the lock. The local part of a version (+cpu) is dropped, since other indexes lack it."""
    release = version.partition("+")[0]
    return f"torch=={'.'.join(release.split('.')[:2])}.*" if name == "torch" else f"{name}=={release}"


def pins(report: Path) -> list[str]:
    """The lines of the lock for the packages that pip would install from an index."""
    packages = [
        package["metadata"] for package in json.loads(report.read_text("utf-8"))["install"] if not package["is_direct"]
    ]
    versions = {re.sub(r"[-_.]+", "-", package["name"]).lower(): package["version"] for package in packages}
    return [pin(name, version) for name, version in sorted(versions.items()) if not name.startswith(CUDA)]


def changes(before: list[str], after: list[str]) -> list[str]:
    """What is gone and what is new, by package."""
    lines = [f"- {line}" for line in set(before).difference(after)] + [f"+ {line}" for line in set(after).difference(before)]
    return sorted(lines, key=lambda line: (line[2:].partition("==")[0], line[0] == "+"))


def main(report: Path) -> None:
    """Write the lock."""
    before = LOCK.read_text("utf-8").splitlines() if LOCK.exists() else []
    after = pins(report)
    LOCK.write_text("\n".join(after) + "\n", encoding="utf-8")
    print("\n".join(changes(before, after)) or f"{LOCK.name} is up to date.")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
