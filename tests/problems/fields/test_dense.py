"""NYUv2 and Cityscapes: what a folder holds, what is wrong with it, and how frames are read, changed and learned."""

import pickle
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import dense_folder
from hardfirst.errors import InputError
from hardfirst.networks import NETWORKS
from hardfirst.problems import IGNORE, Augmented, Problem, fields, folder_name, load_problem
from hardfirst.problems.fields import _augmentation, _dense_networks, cityscapes, nyuv2
from hardfirst.problems.fields._dense import Frames
from hardfirst.training import check_problem
from resumed_runs import trained_and_resumed

WRITE = {"nyuv2": dense_folder.write, "cityscapes": dense_folder.write_cityscapes}
MODULES = {"nyuv2": nyuv2, "cityscapes": cityscapes}


@pytest.fixture(scope="module", params=WRITE)
def name(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    return folder_name(request.param, WRITE[request.param](tmp_path_factory.mktemp(request.param)))


def folder_of(name: str) -> Path:
    return Path(name.partition("?data=")[2])


# What a folder holds


def test_a_folder_in_sentences(name: str) -> None:
    is_nyuv2 = name.startswith("nyuv2")
    expected = [
        "16 + 5 frames of 32×48, of which train keeps 1 for validation.",
        "21 of them were read: labels 0 to 12 and -1, depth in metres from 1 to 4, normals at 91% of the pixels."
        if is_nyuv2
        else "21 of them were read: labels 0 to 6 and -1, inverse depth from 1 to 2.5.",
        f"The published set has {'795 + 654 frames of 288×384' if is_nyuv2 else '2975 + 500 frames of 128×256'}.",
    ]
    assert fields.check(name) == expected


def test_hidden_files_are_passed_over(tmp_path: Path) -> None:
    dense_folder.write(tmp_path)
    (tmp_path / "train" / "image" / "._0.npy").write_bytes(b"what macOS keeps beside a copied file")
    assert nyuv2.check(tmp_path)[0].startswith("16 + 5 frames")


def test_label_in_place_of_label_7(tmp_path: Path) -> None:
    dense_folder.write_cityscapes(tmp_path, label="label")
    assert "labels 0 to 6" in cityscapes.check(tmp_path)[1]
    for split in ("train", "val"):
        (tmp_path / split / "label").rename(tmp_path / split / "label_19")
    with pytest.raises(InputError, match="no folder train/label_7 or label"):
        cityscapes.problem(tmp_path)


Change = Callable[[Path], None]


def new(part: str, change: Callable[[Any], Any]) -> Change:
    """A change of the values of one file of train."""

    def apply(folder: Path) -> None:
        path = folder / "train" / part / "3.npy"
        np.save(path, change(np.load(path)))

    return apply


def cut(folder: Path) -> None:
    path = folder / "train" / "depth" / "3.npy"
    path.write_bytes(path.read_bytes()[:-1])


def emptied(folder: Path) -> None:
    (folder / "train" / "depth" / "3.npy").write_bytes(b"")


def pickled(folder: Path) -> None:
    (folder / "train" / "label" / "3.npy").write_bytes(pickle.dumps([1, 2]))


def archived(folder: Path) -> None:
    with (folder / "train" / "label" / "3.npy").open("wb") as file:
        np.savez(file, label=np.zeros((32, 48)))


def removed(path: str) -> Change:
    return lambda folder: (folder / path).unlink()


def moved(path: str) -> Change:
    return lambda folder: (folder / path).rename(folder / "elsewhere")


def without_images(folder: Path) -> None:
    for path in (folder / "val").glob("*/*.npy"):
        path.unlink()


def one(part: str, value: float) -> Change:
    """One other value in a file of train."""

    def change(values: Any) -> Any:
        values[5, 5] = value
        return values

    return new(part, change)


UNREADABLE = r"train/{}/3.npy cannot be read as a complete .npy file of numbers: .*{}"
SIZES = "Expected arrays of the same height and width in .*; got .*{}.* Resize"
WRONG: dict[str, tuple[Change, str]] = {
    "no folder": (
        moved("val/depth"),
        r"Expected NYUv2 in .*, as \{train,val\}/\{image,label,depth,normal\}.*no folder val/depth\. The README",
    ),
    "no frames": (without_images, r"found no \.npy file in .*val/image"),
    "a missing file": (removed("train/depth/3.npy"), r"found 16 files in .*train/image, but no .*train/depth/3\.npy"),
    "a missing image": (removed("train/image/3.npy"), r"found 15 files in .*train/image, but no .*train/image/3\.npy"),
    "truncated": (cut, UNREADABLE.format("depth", "mmap length")),
    "empty": (emptied, UNREADABLE.format("depth", "")),
    "pickled": (pickled, UNREADABLE.format("label", "pickle")),
    "an archive": (archived, r"Expected an array of real numbers in .*label/3\.npy; got an archive"),
    "complex": (new("depth", lambda depth: depth * 1j), r"Expected an array of real numbers in .*3\.npy; got complex"),
    "integer images": (new("image", lambda image: image.astype(int)), r"floating-point numbers or uint8 in .*; got int64"),
    "images to 255": (new("image", lambda image: 255 * image), r"Expected the image in .*3\.npy to be from 0 to 1"),
    "channels first": (new("image", lambda image: image.T.copy()), SIZES.format("3×48 in .*train/image/3.npy")),
    "two channels": (new("normal", lambda normal: normal[..., :2]), r"normals \[height, width, 3\] in .*\[32, 48, 2\]"),
    "colours": (new("label", lambda label: np.stack([label] * 3, -1)), r"Expected classes \[height, width\]"),
    "two depths": (new("depth", lambda depth: np.tile(depth, 2)), r"Expected depths \[height, width, 1\]"),
    "flat": (new("depth", lambda depth: depth.ravel()), r"Expected an array \[height, width\] or .*got \[1536\]"),
    "another size": (new("label", lambda label: label[:, :47]), SIZES.format("32×47 in .*train/label/3.npy")),
    "an unknown class": (one("label", 13), r"classes in .*label/3\.npy to be 0 to 12, .*got 13\."),
    "half a class": (one("label", 0.5), r"classes in .*label/3\.npy to be 0 to 12, .*got 0\.5"),
    "an infinite depth": (one("depth", np.inf), r"depths in .*depth/3\.npy to be finite"),
    "long normals": (new("normal", lambda normal: 128 * normal), r"Expected unit vectors in .*normal/3\.npy"),
}


@pytest.mark.parametrize(("change", "sentence"), WRONG.values(), ids=WRONG)
def test_wrong_folders(change: Change, sentence: str, tmp_path: Path) -> None:
    change(dense_folder.write(tmp_path))
    with pytest.raises(InputError, match=sentence):
        nyuv2.check(tmp_path)


def test_too_few_frames_to_hold_one_out(tmp_path: Path) -> None:
    problem = nyuv2.problem(dense_folder.write(tmp_path, counts={"train": 3, "val": 2}))
    with pytest.raises(InputError, match=r"None of the 3 frames in .* is in the 10% that .* for validation. Add frames"):
        problem.data()
    assert problem.published is not None
    assert len(problem.published.data().train) == 3  # type: ignore[arg-type]


def test_damage_is_also_found_while_training(tmp_path: Path) -> None:
    dense_folder.write(tmp_path)
    splits = nyuv2.problem(tmp_path).data()
    new("label", lambda label: label[:, :47])(tmp_path)
    with pytest.raises(
        InputError, match=r"Expected .*label/3.npy to have the height and width of its image, \[32, 48\]; got"
    ):
        splits.train[3]


# How frames are read


def plain(split: Any) -> Frames:
    assert isinstance(split, Augmented)
    return split.dataset


def test_frames_are_split_by_their_names(name: str) -> None:
    splits = load_problem(name).data()
    assert plain(splits.train).names == [f"{number}.npy" for number in range(16) if number != 11]
    assert splits.validation.names == ["11.npy"]  # type: ignore[union-attr]
    assert splits.test.names == [f"{number}.npy" for number in range(5)]  # type: ignore[union-attr]
    problem = load_problem(name)
    assert problem.published is not None
    published = problem.published.data()
    assert len(plain(published.train)) == 16
    assert published.validation is published.test


def test_a_frame(name: str) -> None:
    folder, frames = folder_of(name), plain(load_problem(name).data().train)
    image, targets = frames[3]
    raw = {part.name: np.load(part / "3.npy") for part in (folder / "train").iterdir()}
    assert np.array_equal(image, np.moveaxis(raw["image"], -1, 0))
    label = raw.get("label", raw.get("label_7"))
    assert np.array_equal(targets["segment"], np.where(label < 0, IGNORE, label))
    assert targets["segment"].dtype == torch.int64
    depth = raw["depth"][None, ..., 0]
    assert np.array_equal(targets["depth"], np.where(depth > 0, depth, np.nan), equal_nan=True)
    if "normals" in targets:
        normal = np.moveaxis(raw["normal"], -1, 0)
        assert np.array_equal(targets["normals"], np.where((normal != 0).any(0), normal, np.nan), equal_nan=True)


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("image", lambda image: image.astype(np.float64)),
        ("image", lambda image: image.astype(">f4")),
        ("image", np.asfortranarray),
        ("label", lambda label: label.astype(np.int8)),
        ("label", lambda label: label.astype(np.float32)[..., None]),
        ("label", lambda label: np.where(label < 0, 255, label).astype(np.uint8)),
        ("depth", lambda depth: depth.astype(np.float16)[..., 0]),
        ("depth", lambda depth: np.where(depth > 0, depth, -1)),
        ("normal", lambda normal: np.where((normal != 0).any(-1, keepdims=True), normal.astype(np.float64), np.nan)),
    ],
    ids=["float64", "big-endian", "columns", "int8", "float32 label", "uint8 and 255", "float16", "below 0", "NaN"],
)
def test_types_are_cast(part: str, change: Callable[[Any], Any], tmp_path: Path) -> None:
    dense_folder.write(tmp_path)
    frames = plain(nyuv2.problem(tmp_path).data().train)
    image, targets = frames[3]
    new(part, change)(tmp_path)
    again, others = frames[3]
    torch.testing.assert_close(again, image)
    torch.testing.assert_close(others, targets, equal_nan=True, rtol=0, atol=1e-6)


def test_bytes_are_divided_by_255(tmp_path: Path) -> None:
    dense_folder.write(tmp_path)
    new("image", lambda image: np.full_like(image, 51, dtype=np.uint8))(tmp_path)
    image, _ = plain(nyuv2.problem(tmp_path).data().train)[3]
    torch.testing.assert_close(image, torch.full((3, 32, 48), 0.2))


# How frames are changed at random


def nearest(values: Any, top: int, left: int, rows: int, columns: int) -> Any:
    height, width = values.shape[-2:]
    row, column = (top + np.arange(height) * rows // height, left + np.arange(width) * columns // width)
    return values[..., row[:, None], column]


def smooth(values: Any, top: int, left: int, rows: int, columns: int) -> Any:
    """Bilinear, with the corners of the crop on the corners of the frame."""
    height, width = values.shape[-2:]
    row, column = top + np.linspace(0, rows - 1, height), left + np.linspace(0, columns - 1, width)
    below, right = np.minimum(row.astype(int) + 1, top + rows - 1), np.minimum(column.astype(int) + 1, left + columns - 1)
    down, across = (row % 1)[:, None], column % 1
    upper, lower = (
        values[..., line.astype(int)[:, None], column.astype(int)] * (1 - across)
        + values[..., line[:, None], right] * across
        for line in (row.astype(int), below)
    )
    return upper * (1 - down) + lower * down


def changes(item: tuple[Tensor, dict[str, Tensor]]) -> Iterator[tuple[tuple[float, bool], Any, dict[str, Any]]]:
    """All that augmentation may make of a frame, computed in another way."""
    image, targets = item[0].double().numpy(), {task: target.double().numpy() for task, target in item[1].items()}
    height, width = image.shape[-2:]
    for scale, flip in product((1.0, 1.2, 1.5), (False, True)):
        rows, columns = int(height / scale), int(width / scale)
        for top, left in product(range(height - rows + 1), range(width - columns + 1)):
            crop, back = (top, left, rows, columns), (slice(None, None, -1) if flip else slice(None))
            normals = smooth(np.nan_to_num(targets["normals"]), *crop)
            normals[0] *= -1 if flip else 1
            new = {
                "segment": nearest(targets["segment"], *crop),
                "depth": nearest(targets["depth"], *crop) / scale,
                "normals": np.where((normals != 0).any(0), normals, np.nan),
            }
            yield (scale, flip), smooth(image, *crop)[..., back], {task: value[..., back] for task, value in new.items()}


def test_training_frames_are_enlarged_crops_and_flips(tmp_path: Path) -> None:
    dense_folder.write(tmp_path, size=(10, 13))
    train = nyuv2.problem(tmp_path).data().train
    possible = list(changes(plain(train)[0]))
    seen = set()
    for epoch in range(24):
        image, targets = train.drawn(0, seed=0, epoch=epoch)  # type: ignore[union-attr]
        matches = [(kind, new) for kind, other, new in possible if np.allclose(image, other, atol=1e-5)]
        assert matches, "the image is no crop"
        kind, new = matches[0]
        seen.add(kind)
        for task, target in targets.items():
            assert np.allclose(target, new[task], atol=1e-5, equal_nan=True), (task, kind)
            assert target.dtype == plain(train)[0][1][task].dtype
    assert len(seen) == 6


def test_draws_are_uniform() -> None:
    generator = torch.Generator().manual_seed(0)
    counts = np.bincount([_augmentation._below(3, generator) for _ in range(3000)])
    assert len(counts) == 3
    assert abs(counts - 1000).max() < 100


def test_no_other_split_and_no_other_line_is_augmented(tmp_path: Path) -> None:
    dense_folder.write(tmp_path)
    splits = nyuv2.problem(tmp_path).data()
    deeplab = nyuv2.problem(tmp_path, "deeplab")
    assert deeplab.published is not None
    for split in (splits.validation, splits.test, deeplab.data().train, deeplab.published.data().train):
        assert isinstance(split, Frames)


# Networks and recipes


def test_the_recipe_of_each_line(tmp_path: Path) -> None:
    dense_folder.write(tmp_path)
    dense_folder.write_cityscapes(tmp_path)
    found = {
        name: (problem.learning_rate, problem.batch_size, problem.epochs, problem.recipe.settings())
        for name in ("nyuv2", "nyuv2:deeplab", "cityscapes")
        for problem in [load_problem(folder_name(name, tmp_path))]
    }
    schedule = "step:every=100,factor=0.5"
    decay = {"optimizer": "adam:weight_decay=1e-05", "schedule": schedule, "drop_last": True}
    assert found == {
        "nyuv2": (1e-4, 2, 200, {"schedule": schedule}),
        "nyuv2:deeplab": (1e-4, 8, 200, decay),
        "cityscapes": (1e-4, 8, 200, {"schedule": schedule}),
    }


def narrow(problem: Problem) -> Problem:
    """The problem with parts of 2 channels: those of its own have 25 million parameters."""
    maps = {"segment": (13, False), "depth": (1, False), "normals": (3, True)}
    parts = _dense_networks.deeplab_parts if problem.name == "nyuv2:deeplab" else _dense_networks.segnet_parts
    return replace(problem, parts=lambda: parts(maps, width=2))


@pytest.mark.parametrize("line", ["nyuv2", "nyuv2:deeplab"])
@pytest.mark.parametrize("network", ["segnet:width=2", "segnet_mtan:width=2", "deeplab:width=2", *NETWORKS])
def test_every_network_fits(line: str, network: str, tmp_path: Path) -> None:
    problem = load_problem(folder_name(line, dense_folder.write(tmp_path, counts={"train": 12, "val": 2})))
    check_problem(narrow(problem).variant(network=network), line)


def test_weights_of_the_trunk_are_named_in_the_network(tmp_path: Path) -> None:
    problem = nyuv2.problem(dense_folder.write(tmp_path, counts={"train": 1, "val": 1}))
    source = problem.variant(network="deeplab:width=1").network().trunk
    torch.save(source.state_dict(), tmp_path / "resnet.pth")  # type: ignore[union-attr]
    trunk = problem.variant(network=f"deeplab:width=1,weights={tmp_path}/resnet.pth").network().trunk
    assert torch.equal(trunk.conv1.weight, source.conv1.weight)  # type: ignore[union-attr,arg-type]
    with pytest.raises(InputError, match=r"There is no file nowhere\.pth"):
        problem.variant(network="deeplab:weights=nowhere.pth").network()


# Training


@pytest.mark.filterwarnings("ignore::hardfirst.training.MeasureWarning")  # some classes are in no frame of validation
def test_epochs_are_trained_and_resumed(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hardfirst.training._evaluate._MOST_NUMBERS", 1)  # batches of a split, not the whole of it
    record = trained_and_resumed(name, tmp_path, network="segnet:width=1")
    assert record.test is not None
    figures = {task: {"KPI": result["kpi"], **result["metrics"]} for task, result in record.test["tasks"].items()}
    assert {task: list(each) for task, each in figures.items()} == {
        task.name: ["KPI", *task.metrics] for task in load_problem(name).tasks
    }
    assert all(np.isfinite(value) for each in figures.values() for value in each.values())
    assert figures["segment"]["mIoU"] == pytest.approx(100 * figures["segment"]["KPI"])


def test_what_is_published(name: str) -> None:
    problem = load_problem(name)
    assert problem.published is not None
    single = {task: {each.name: each.single_task for each in of} for task, of in problem.published.measures.items()}
    assert single == MODULES[name.partition("?")[0]].SINGLE_TASK
    for task in problem.tasks:
        better = {each.name: each.higher_is_better for each in problem.published.measures[task.name]}
        assert better == {name: metric.higher_is_better for name, metric in task.metrics.items()}
    assert set(problem.published.metrics) == set(problem.task_names) - {"segment"}


def test_libmtl_averages_depth_alone(tmp_path: Path) -> None:
    published = nyuv2.problem(dense_folder.write(tmp_path), "deeplab").published
    assert published is not None
    assert (set(published.metrics), published.evaluation_batch) == ({"depth"}, 8)


@pytest.mark.slow
def test_a_comparison_and_its_page(hardfirst: Callable[..., str], tmp_path: Path) -> None:
    name = folder_name("nyuv2", dense_folder.write(tmp_path / "nyuv2"))
    settings = "--networks segnet:width=1 --balancers equal,dtp --seeds 1 --epochs 1 --no-baselines --no-controls --no-cost"
    said = hardfirst("compare", name, *settings.split(), "--out", "study")
    assert "nyuv2, segnet:width=1 network" in said
    assert "pixel accuracy" in Path("study/report.html").read_text(encoding="utf-8")
