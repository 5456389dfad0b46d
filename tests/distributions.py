"""What the built wheel and sdist hold: `python tests/distributions.py FOLDER`, which `make package` runs.

The folder has both, and below `direct/` the wheel that was built without going through the sdist.
"""

import sys
import tarfile
from pathlib import Path
from zipfile import ZipFile

SOURCE = Path(__file__).parent.parent / "src"
BESIDE_MODULES = ("py.typed", "report/page.css", "report/page.html", "report/page.js", "problems/builtin/brown.sha256")
SDIST = (
    "pyproject.toml",
    "LICENSE",
    "README.md",
    "CHANGELOG.md",
    "CITATION.cff",
    "SECURITY.md",
    "Makefile",
    "tests/conftest.py",
)


def contents(wheel: Path) -> dict[str, bytes]:
    with ZipFile(wheel) as file:
        return {name: file.read(name) for name in file.namelist()}


def main(folder: Path) -> None:
    (wheel,), (sdist,), (direct,) = folder.glob("*.whl"), folder.glob("*.tar.gz"), folder.glob("direct/*.whl")
    found = contents(wheel)
    assert found == contents(direct), "the sdist builds another wheel than the checkout"

    files = [file for file in SOURCE.rglob("*") if file.is_file() and "__pycache__" not in file.parts]
    expected = {file.relative_to(SOURCE).as_posix(): file.read_bytes() for file in files}
    assert {f"hardfirst/{name}" for name in BESIDE_MODULES} <= expected.keys()
    assert {name: text for name, text in found.items() if ".dist-info/" not in name} == expected
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in found)

    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    assert set(SDIST) | {f"src/{name}" for name in expected} <= held, "the sdist lacks files"
    assert not [name for name in held if "/_build/" in name or "__pycache__" in name]
    print(f"{wheel.name} has {len(found)} files, {sdist.name} {len(held)}.")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
