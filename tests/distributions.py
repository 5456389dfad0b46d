"""Check what the built wheels and sdists contain: `python tests/distributions.py FOLDER`, which `make package` runs.

The folder has a wheel, an sdist and, below `direct/`, the wheel that was built without going through the sdist; and the same
of hardfirst-scenes below `scenes/`.
"""

import sys
import tarfile
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).parent.parent
SCENES = ROOT / "packages/hardfirst-scenes"
DATA_FILES = (
    "py.typed",
    "report/html/page.css",
    "report/html/page.js",
    *(f"report/html/templates/{name}.html.j2" for name in ("blocks", "live", "page", "waiting")),
    "problems/builtin/brown.sha256",
)
SDIST = (
    "pyproject.toml",
    "LICENSE",
    "README.md",
    "CHANGELOG.md",
    "CITATION.cff",
    "SECURITY.md",
    "Makefile",
    "tests/conftest.py",
    "packages/hardfirst-scenes/pyproject.toml",
)


def contents(wheel: Path) -> dict[str, bytes]:
    with ZipFile(wheel) as file:
        return {name: file.read(name) for name in file.namelist()}


def sources(folder: Path) -> dict[str, bytes]:
    files = [file for file in folder.rglob("*") if file.is_file() and "__pycache__" not in file.parts]
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def check(folder: Path, source: Path, required: set[str]) -> None:
    """The wheel has the files of `source` and no others; the sdist has them, and those that are required."""
    (wheel,), (sdist,), (direct,) = folder.glob("*.whl"), folder.glob("*.tar.gz"), folder.glob("direct/*.whl")
    packed = contents(wheel)
    assert packed == contents(direct), "the sdist builds another wheel than the checkout"

    expected = sources(source)
    assert {name: text for name, text in packed.items() if ".dist-info/" not in name} == expected
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in packed)

    with tarfile.open(sdist) as archive:
        archived = {name.partition("/")[2] for name in archive.getnames()}
    assert required | {f"src/{name}" for name in expected} <= archived, "the sdist lacks files"
    assert not [name for name in archived if "/_build/" in name or "__pycache__" in name]
    print(f"{wheel.name} has {len(packed)} files, {sdist.name} {len(archived)}.")


def main(folder: Path) -> None:
    check(folder, ROOT / "src", set(SDIST))
    check(folder / "scenes", SCENES / "src", {"pyproject.toml", "LICENSE", "README.md"})

    (wheel,), (plugin,) = folder.glob("*.whl"), folder.glob("scenes/*.whl")
    assert {f"hardfirst/{name}" for name in DATA_FILES} <= contents(wheel).keys()
    assert not [name for name in contents(wheel) if "scenes" in name], "the renderer belongs to hardfirst-scenes"
    assert {name.partition("/")[0].partition("-")[0] for name in contents(plugin)} == {"hardfirst_scenes"}
    assert "hardfirst_scenes/py.typed" in contents(plugin)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
