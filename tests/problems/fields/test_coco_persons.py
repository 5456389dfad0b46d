import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import coco_files
from hardfirst.errors import InputError
from hardfirst.kpi import skipping
from hardfirst.networks import NETWORKS
from hardfirst.problems import IGNORE, Batch, Problem, folder_name
from hardfirst.problems.fields import _person_measures as measures
from hardfirst.problems.fields import _persons, coco_persons
from hardfirst.training import check_problem
from hardfirst.training._fingerprint import fingerprint
from resumed_runs import trained_and_resumed

TASKS = ("presence", "mask", "box", "keypoints")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return coco_files.save(tmp_path_factory.mktemp("coco"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of one's own, to be damaged."""
    return coco_files.save(tmp_path / "coco", train=8, val=4)


def batch(folder: Path, rows: int = 8) -> Batch:
    train = coco_persons.data(folder).train
    assert isinstance(train, coco_persons.PersonPictures)
    return train.__getitems__(range(rows))


# What is there


def test_check_says_what_is_there(made: Path) -> None:
    assert coco_persons.check(made) == [
        "train2017: 4 pictures with one person (4 with keypoints), 6 with none.",
        "val2017: 2 pictures with one person (2 with keypoints), 2 with none.",
        "8 for training, 2 for validation and 4 for testing.",
    ]


def test_pictures_with_several_persons_are_left_out(made: Path) -> None:
    assert coco_persons.labels(made, "train")["identifiers"].tolist() == list(range(26, 36))


def test_labels_are_those_of_the_resized_picture(made: Path) -> None:
    _, targets = batch(made)
    content = json.loads((made / "annotations/person_keypoints_train2017.json").read_text())
    first = content["annotations"][0]  # in the third picture
    across, down = 256 / coco_files.WIDTH, 256 / coco_files.HEIGHT
    x, y, width, height = first["bbox"]
    assert targets["presence"].tolist() == [0, 0, 1, 1, 0, 0, 1, 0]
    expected = [x * across, y * down, (x + width) * across, (y + height) * down]
    assert targets["box"][2].tolist() == pytest.approx(expected, rel=1e-5)
    centre = [(x + width / 2) * across, (y + height / 2) * down]
    sizes = [max(width * across, height * down), math.sqrt(math.pi / 4 * width * across * height * down)]
    assert targets["keypoints"][2, 0].tolist() == pytest.approx([*centre, *sizes], rel=1e-5)
    assert (~targets["keypoints"][2, :, 0].isnan()).nonzero().flatten().tolist() == [0, 5]
    assert int((targets["mask"][2] == 1).sum()) == pytest.approx(sizes[1] ** 2, rel=0.05)
    rows, columns = (targets["mask"][2] == 1).nonzero().float().mean(0).add(0.5).tolist()
    assert [columns, rows] == pytest.approx(centre, abs=0.3)


def test_only_presence_has_a_label_without_a_person(made: Path) -> None:
    _, targets = batch(made)
    assert bool(targets["box"][0].isnan().all())
    assert bool(targets["keypoints"][0].isnan().all())
    assert bool((targets["mask"][0] == IGNORE).all())


def test_the_picture_and_its_mask_agree(made: Path) -> None:
    pictures, targets = batch(made)
    bright = pictures[2].float().mean(0) > 128
    assert float((bright == (targets["mask"][2] == 1)).float().mean()) > 0.98


def test_the_published_splits_hold_nothing_out(made: Path) -> None:
    splits = coco_persons.published_splits(made)
    assert [len(split) for split in (splits.train, splits.validation, splits.test)] == [10, 4, 4]  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools with NumPy 2
def test_masks_are_those_of_pycocotools() -> None:
    pycocotools = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")
    for seed in range(3):
        annotation = coco_files.person(1, 1, torch.Generator().manual_seed(seed))
        across, down = 256 / coco_files.WIDTH, 256 / coco_files.HEIGHT
        scaled = [number * (across, down)[place % 2] for place, number in enumerate(annotation["segmentation"][0])]
        expected = torch.tensor(pycocotools.decode(pycocotools.frPyObjects([scaled], 256, 256)).tolist())[..., 0] > 0
        found = _persons.polygons_mask(annotation["segmentation"], across, down)
        assert float((found & expected).sum() / (found | expected).sum()) > 0.97


def test_an_item_is_a_row_of_a_batch(made: Path) -> None:
    (pictures, targets), train = batch(made), coco_persons.data(made).train
    picture, labels = train[2]  # type: ignore[index]  # a data set of items
    torch.testing.assert_close(picture, pictures[2])
    for task, target in labels.items():
        torch.testing.assert_close(target, targets[task][2], equal_nan=True)


def test_pictures_are_not_read_for_a_fingerprint(made: Path) -> None:
    count, *_ = fingerprint(coco_persons.data(made))["test"]
    assert count < 4 * 3 * 256 * 256


# Wrong folders


def edited(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "annotations/person_keypoints_train2017.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def _first(name: str, value: object) -> Callable[[Path], None]:
    return lambda folder: edited(folder, lambda content: content["annotations"][0].update({name: value}))


def _cut(name: str) -> Callable[[Path], None]:
    def cut(folder: Path) -> None:
        path = folder / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return cut


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "a list": (
        lambda folder: (folder / "annotations/person_keypoints_train2017.json").write_text("[1, 2]"),
        r"Expected .*train2017\.json to have lists of 'images' and 'annotations'; got list",
    ),
    "other annotations": (
        lambda folder: edited(folder, lambda content: content.pop("annotations")),
        r"Expected .*train2017\.json to have lists of 'images' and 'annotations'; got images, categories",
    ),
    "half a file": (_cut("annotations/person_keypoints_train2017.json"), r"train2017\.json is not a complete JSON file"),
    "half a picture": (
        _cut("train2017/000000000026.jpg"),
        r"000000000026\.jpg cannot be read as a picture: .* Get this file again",
    ),
    "no picture": (
        lambda folder: (folder / "val2017/000000000027.jpg").unlink(),
        r"val2017 lacks 1 of the 4 pictures that are used from .*val2017\.json, 000000000027\.jpg first",
    ),
    "two numbers of a box": (_first("bbox", [1, 2]), r"annotation 1 of .*train2017\.json to have a box of 4 numbers, 3 for"),
    "few keypoints": (
        _first("keypoints", [1, 2, 3]),
        r"annotation 1 of .* 3 for each of 17 keypoints, an area, and polygons",
    ),
    "no keypoints": (
        _first("keypoints", None),
        r"Expected entry 1 of .*train2017\.json to have 'keypoints', a list; got None",
    ),
    "half a polygon": (_first("segmentation", [[1, 2, 3]]), r"annotation 1 of .*, an area, and polygons; ValueError"),
    "bits": (
        _first("segmentation", {"counts": []}),
        r"entry 1 of .* to have 'segmentation', a list; got \{'counts': \[\]\}",
    ),
    "no such picture": (_first("image_id", 99), r"train2017\.json has persons in a picture 99 that is not among its images"),
    "other names": (
        lambda folder: edited(folder, lambda content: content["images"][0].update(file_name="a.jpg")),
        r"Expected picture 26 of .*train2017\.json to be 000000000026\.jpg; got 'a\.jpg'",
    ),
    "nobody": (
        lambda folder: edited(folder, lambda content: content.update(annotations=content["annotations"][-1:])),
        r"Expected .*train2017\.json to have pictures with one person and pictures with none; got 0 and 9",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_files_get_a_sentence(case: str, folder: Path) -> None:
    damage, sentence = WRONG[case]
    damage(folder)
    with pytest.raises(InputError, match=sentence):
        coco_persons.check(folder)


def test_a_damaged_picture_leaves_no_cache(folder: Path, tmp_path: Path) -> None:
    _cut("train2017/000000000028.jpg")(folder)
    with pytest.raises(InputError, match=r"000000000028\.jpg cannot be read as a picture"):
        coco_persons.data(folder)
    assert not list((tmp_path / "cache").glob("*/pictures"))


@pytest.mark.parametrize(
    "name",
    ["annotations/person_keypoints_train2017.json", "annotations/person_keypoints_val2017.json", "train2017", "val2017"],
)
def test_a_folder_without_one_of_the_parts_gets_a_sentence(name: str, folder: Path) -> None:
    (folder / name).rename(folder / "elsewhere")
    with pytest.raises(
        InputError, match=rf"There is no .*/coco/{re.escape(name)}\. Expected DIR/annotations/.* get it from coco"
    ):
        coco_persons.problem(folder)


# Measures


def boxes(*rows: list[float]) -> Tensor:
    return torch.tensor(rows)


def answer(box: list[float], logit: float, cells: int = 32) -> Tensor:
    """The output of a network that is as sure as this of one box."""
    output = torch.full((5, cells, cells), -9.0)
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    stride = 256 / cells
    column, row = int(x / stride), int(y / stride)
    sizes = [math.log((box[2] - box[0]) / 64), math.log((box[3] - box[1]) / 64)]
    centre = [x / stride - column - 0.5, y / stride - row - 0.5]
    output[:, row, column] = torch.tensor([logit, *centre, *sizes])
    return output


@pytest.mark.parametrize("cells", [16, 32])
def test_the_best_box_is_decoded(cells: int) -> None:
    box = [30.0, 40.0, 130.0, 90.0]
    found, score = measures.best_box(answer(box, 2.0, cells).unsqueeze(0))
    torch.testing.assert_close(found, boxes(box))
    assert float(score) == pytest.approx(1 / (1 + math.exp(-2)))


def test_the_overlap_of_boxes_by_hand() -> None:
    output = torch.stack([answer([0, 0, 40, 40], 0.0), answer([0, 0, 40, 40], 0.0), answer([100, 100, 140, 140], 0.0)])
    target = boxes([0, 0, 40, 40], [20, 0, 60, 40], [0, 0, 40, 40])
    torch.testing.assert_close(measures.box_overlap(output, target)[1], torch.tensor([1, 1 / 3, 0]))
    assert float(measures.box_iou(output, target)) == pytest.approx(4 / 9)
    unlabelled = torch.cat([target, boxes([math.nan] * 4)])
    assert float(measures.box_iou(torch.cat([output, output[:1]]), unlabelled)) == pytest.approx(4 / 9)


def test_the_loss_of_the_right_box_is_small() -> None:
    box = [30.0, 44.0, 130.0, 92.0]  # its centre, 80 and 68, is on an edge and in the middle of cells
    right = torch.full((1, 5, 32, 32), -9.0)
    for row, column in product((7, 8, 9), (9, 10)):  # their centres are within 8 pixels, across and down
        right[0, :, row, column] = torch.tensor([9.0, 9.5 - column, 8 - row, math.log(100 / 64), math.log(48 / 64)])
    assert float(measures.box_loss(right, boxes(box))) < 1e-3
    shifted = right.clone()
    shifted[0, 3] += 0.5
    added = measures.box_loss(shifted, boxes(box)) - measures.box_loss(right, boxes(box))
    assert float(added) == pytest.approx(0.5 * 0.5**2 / 4, rel=1e-4)  # smooth L1 of one number of four
    sure = right.clone()
    sure[0, 0, 20, 20] = 2.0  # where nobody is
    probability = 1 / (1 + math.exp(-2))
    focal = -0.75 * probability**2 * math.log(1 - probability)
    added = measures.box_loss(sure, boxes(box)) - measures.box_loss(right, boxes(box))
    assert float(added) == pytest.approx(focal / 6, rel=1e-4)


def test_peaks_are_found_where_the_maps_have_them() -> None:
    target = torch.full((2, 17, 4), math.nan)
    target[0, 3] = torch.tensor([50.0, 200.0, 80.0, 60.0])
    target[1, 0] = torch.tensor([130.0, 10.0, 30.0, 25.0])
    maps = measures.heat_maps(target, 64, 64)
    assert float(maps[0, 3].max()) == pytest.approx(1, abs=0.1)
    found, _ = measures.peaks(maps.nan_to_num(0.0))
    assert float((found[0, 3] - target[0, 3, :2]).abs().max()) <= 2
    assert float(measures.keypoints_near(maps.nan_to_num(0.0), target)) == 1
    assert float(measures.keypoints_loss(maps.nan_to_num(0.0), target)) == 0
    assert float(measures.keypoints_loss(torch.zeros(2, 17, 64, 64), target)) == pytest.approx(1)


def test_the_overlap_of_masks_by_hand() -> None:
    output = torch.tensor([[[2.0, 2.0], [-2.0, -2.0]], [[2.0, 2.0], [2.0, 2.0]]])
    target = torch.tensor([[[1, 0], [1, 0]], [[IGNORE, IGNORE], [IGNORE, IGNORE]]])
    score, overlap = measures.mask_overlap(output, target)
    assert float(overlap[0]) == pytest.approx(1 / 3)
    assert math.isnan(float(overlap[1]))
    assert float(score[0]) == pytest.approx(1 / (1 + math.exp(-2)))


@pytest.mark.parametrize("task", ["mask", "box", "keypoints"])
def test_pictures_without_a_person_count_for_nothing(task: str, made: Path) -> None:
    torch.manual_seed(0)
    (about,) = [each for each in coco_persons.problem(made).tasks if each.name == task]
    _, targets = batch(made)
    target, person = targets[task], targets["presence"] == 1
    shape = {"mask": (256, 256), "box": (5, 32, 32), "keypoints": (17, 64, 64)}[task]
    output = torch.randn(len(target), *shape, requires_grad=True)
    assert skipping(about.loss) is about.loss
    for measure in (about.loss, about.kpi_of_batch):
        assert measure is not None
        torch.testing.assert_close(measure(output, target), measure(output[person], target[person]))
    about.loss(output, target).backward()
    assert output.grad is not None
    assert not output.grad[~person].any()
    assert output.grad[person].any()
    nobody = about.loss(output[~person], target[~person])
    assert float(nobody.detach()) == 0
    assert nobody.requires_grad
    assert about.kpi_of_batch is not None
    assert math.isnan(float(about.kpi_of_batch(output[~person], target[~person])))


def test_average_precision_of_masks_of_nothing_is_zero() -> None:
    precision = measures.AveragePrecision(measures.mask_overlap)
    precision.update(torch.full((2, 4, 4), -3.0), torch.ones(2, 4, 4))
    assert float(precision.compute()) == 0
    precision.reset()
    assert math.isnan(float(precision.compute()))


def evaluated(kind: str, truths: list[dict[str, Any]], found: list[dict[str, Any]]) -> float:
    """AP50 by pycocotools of one answer a picture."""
    coco = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    evaluation_of = pytest.importorskip("pycocotools.cocoeval").COCOeval
    sides = []
    for annotations in (truths, found):
        side = coco.COCO()
        entries = [
            {"image_id": row, "id": row + 1, "category_id": 1, "iscrowd": 0, **each} for row, each in enumerate(annotations)
        ]
        side.dataset = {
            "images": [{"id": row} for row in range(len(truths))],
            "categories": [{"id": 1}],
            "annotations": entries,
        }
        side.createIndex()
        sides.append(side)
    evaluation = evaluation_of(*sides, iouType=kind)
    evaluation.params.iouThrs = [0.5]
    evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, float("inf")]], ["all"]
    evaluation.params.maxDets = [1]
    evaluation.evaluate()
    evaluation.accumulate()
    return 100 * float(evaluation.eval["precision"].mean())


def test_box_precision_is_that_of_pycocotools() -> None:
    random = torch.Generator().manual_seed(0)
    low = 100 * torch.rand(30, 2, generator=random)
    target = torch.cat([low, low + 30 + 80 * torch.rand(30, 2, generator=random)], dim=1)
    guess = target + 3 * torch.randn(30, 4, generator=random)
    guess[:9] += 30  # wrong
    output = torch.stack([answer(box, logit) for box, logit in zip(guess.tolist(), torch.randn(30).tolist(), strict=True)])
    ours = measures.AveragePrecision(measures.box_overlap)
    for rows in (slice(10), slice(10, 30)):
        ours.update(output[rows], target[rows])
    found, score = measures.best_box(output)

    def sized(box: Tensor) -> dict[str, Any]:
        x1, y1, x2, y2 = box.tolist()
        return {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)}

    theirs = evaluated(
        "bbox", [*map(sized, target)], [sized(box) | {"score": float(sure)} for box, sure in zip(found, score, strict=True)]
    )
    assert 20 < theirs < 99
    assert float(ours.compute()) == pytest.approx(theirs, abs=1e-3)


def test_keypoint_precision_is_that_of_pycocotools() -> None:
    random = torch.Generator().manual_seed(0)
    pictures = 20
    target = torch.full((pictures, 17, 4), math.nan)
    points = 40 + 160 * torch.rand(pictures, 17, 2, generator=random)
    seen = torch.rand(pictures, 17, generator=random) < 0.6
    target[..., :2][seen], target[..., 2][seen], target[..., 3][seen] = points[seen], 80, 60
    maps = measures.heat_maps(
        torch.cat([points + 6 * torch.randn(points.shape, generator=random), target[..., 2:]], 2), 64, 64
    )
    maps = maps * torch.rand(pictures, 1, 1, 1, generator=random)
    ours = measures.AveragePrecision(measures.keypoint_similarity)
    ours.update(maps, target)
    found, height = measures.peaks(maps)

    def listed(places: Tensor, visible: Tensor) -> dict[str, Any]:
        keypoints = torch.cat([places, 2.0 * visible.unsqueeze(1)], dim=1).flatten().tolist()
        return {"keypoints": keypoints, "num_keypoints": int(visible.sum()), "area": 3600.0, "bbox": [0, 0, 80, 80]}

    theirs = evaluated(
        "keypoints",
        [listed(place, visible) for place, visible in zip(points, seen, strict=True)],
        [listed(place, torch.ones(17)) | {"score": float(sure.mean())} for place, sure in zip(found, height, strict=True)],
    )
    assert 5 < theirs < 99
    assert float(ours.compute()) == pytest.approx(theirs, abs=1e-3)


# The problem


def small(folder: Path) -> Problem:
    """The problem with a narrow network, as a problem file has it."""
    return replace(
        coco_persons.problem(folder),
        network=partial(coco_persons.resnet, width=2),
        parts=partial(coco_persons.parts, width=2),
        batch_size=4,
    )


def test_losses_are_of_one_order_when_training_begins(made: Path) -> None:
    torch.manual_seed(0)
    pictures, targets = batch(made)
    outputs = coco_persons.resnet(width=4)(pictures)
    person = targets["presence"] == 1
    losses = {
        task.name: float(task.loss(outputs[task.name][rows].detach(), targets[task.name][rows]))
        for task, rows in zip(coco_persons.problem(made).tasks, (slice(None), person, person, person), strict=True)
    }
    assert all(0.5 < loss < 2 for loss in losses.values()), losses


@pytest.mark.parametrize("network", ["own", *NETWORKS])
@pytest.mark.filterwarnings("ignore::hardfirst.training.MeasureWarning")
def test_every_network_fits(network: str, made: Path) -> None:
    check_problem(small(made).variant(network=network), network)


def test_epochs_are_trained_and_resumed(made: Path, tmp_path: Path) -> None:
    record = trained_and_resumed(folder_name("coco_persons", made), tmp_path, network="resnet:width=2")
    assert record.test is not None
    assert record.test["tasks"].keys() == {*TASKS}
    assert record.test["tasks"]["presence"]["examples"] == 4
    assert record.test["tasks"]["box"]["examples"] == 2
    for task in TASKS:
        assert 0 <= record.test["tasks"][task]["kpi"] <= 1
        assert record.test["tasks"][task]["metrics"].keys() == {"top-1" if task == "presence" else "AP50"}


def test_a_file_with_weights_is_named_as_an_option(made: Path, tmp_path: Path) -> None:
    from hardfirst.networks.dilated_resnet import DilatedResNet

    stem = DilatedResNet(2)
    torch.save(stem.state_dict(), tmp_path / "resnet.pth")
    network = coco_persons.problem(made).variant(network=f"resnet:width=2,weights={tmp_path}/resnet.pth").network()
    loaded = network.state_dict()
    for name, value in stem.state_dict().items():
        torch.testing.assert_close(loaded[f"trunk.0.1.{name}"], value)
