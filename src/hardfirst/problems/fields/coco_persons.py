"""`coco_persons`: the four tasks of the DTP paper, on the pictures of COCO that show one person or none.

Folder: COCO 2017 as it is distributed: `annotations/person_keypoints_{train,val}2017.json`, `train2017/*.jpg` and
`val2017/*.jpg`. `annotations/instances_{train,val}2017.json` may exist; it has the same persons, and is not read.

Pictures: those with no person, or with one that is not a crowd, resized to 256×256 without regard to their proportions.
Tasks and their KPIs: `presence`, is there a person, accuracy; `mask`, the mean over person and background of the
intersection over union of pixels; `box`, the mean intersection over union of the most confident box; `keypoints`, the share
of labelled keypoints found within 10% of the longer side of the person's box. If there is no person, only `presence` has a
label, as in the paper. Metrics are the paper's: top-1 and, for the others, AP50 over the pictures with a person, in
percent.

Network: a dilated ResNet-50 that all tasks share, and four small heads. It starts with random weights. For other weights,
use `--network "resnet:weights=FILE"` with a file of torchvision or timm, as tensors in `.safetensors` or `.pth`.

Losses: cross-entropy of the picture and of pixels, focal loss and smooth L1 of the box, squared error of heat maps. The
paper sets scales by hand, 1e5, 1e-1, 4e2 and 4. Here all scales are 1, since each loss is normalized to 0.5 to 2 at the
start of training: see `_person_measures`.

Splits: 10% of train2017, by a hash of the file's name, is for validation, and val2017 for testing.

Recipe: Adam at 1e-4 is the paper's, as are γ = 1 and α = 0.75 of DTP, `dtp:gamma=1,alpha=0.75`; γ = 1 is also the default.
Batch size and epochs are ours.

Pictures are decoded once, into 17 GB in the user's cache folder.

Note:
    The paper has a separate network for each task (DenseNet-121, a fully convolutional decoder, RetinaNet-50 and a stacked
    hourglass) and shares parts of them. Its answers are ranked like ours, but there may be several per picture. The paper
    does not say on which pictures and at which epoch it measures: `--protocol published` measures after the last epoch.

References:
    Guo et al., Dynamic Task Prioritization for Multitask Learning, ECCV 2018;
    Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from hardfirst.errors import InputError
from hardfirst.kpi import accuracy, mean_iou
from hardfirst.losses import SigmoidFocalLoss
from hardfirst.problems._base import Problem, Splits
from hardfirst.problems._data import IGNORE, Batch
from hardfirst.problems._published import Published, PublishedMeasure
from hardfirst.problems._task import Metric, Task
from hardfirst.problems.fields import _person_measures as measures
from hardfirst.problems.fields import held_out, lacks
from hardfirst.problems.fields._dense_measures import in_percent
from hardfirst.problems.fields._mapped import Chunk, mapped
from hardfirst.problems.fields._person_network import parts, resnet
from hardfirst.problems.fields._persons import REVISION, SIZE, annotations, file_name, labels, unpack
from hardfirst.problems.fields._pictures import picture, pictures

SPLITS = ("train", "val")


def problem(folder: Path) -> Problem:
    """Return the problem.

    Args:
        folder: the folder of COCO.

    Raises:
        InputError: the folder does not contain COCO.
    """
    _require(folder)
    return Problem(
        name="coco_persons",
        tasks=_tasks(),
        network=resnet,
        networks={"resnet": resnet},
        parts=parts,
        data=partial(data, folder),
        batch_size=16,
        epochs=20,
        learning_rate=1e-4,
        description="Is there a person, and its mask, box and keypoints: the tasks of the DTP paper on COCO.",
        published=Published(
            data=partial(published_splits, folder),
            measures={
                "presence": (PublishedMeasure("top-1", higher_is_better=True),),
                **{task: (PublishedMeasure("AP50", higher_is_better=True),) for task in ("mask", "box", "keypoints")},
            },
            last=1,
        ),
    )


def _tasks() -> tuple[Task, ...]:
    cross_entropy = SigmoidFocalLoss(gamma=0.0, alpha=None)
    return (
        Task("presence", F.cross_entropy, accuracy, {"top-1": Metric(in_percent(accuracy))}),
        Task("mask", cross_entropy, mean_iou, _precision(measures.mask_overlap)),
        Task("box", measures.box_loss, measures.box_iou, _precision(measures.box_overlap)),
        Task("keypoints", measures.keypoints_loss, measures.keypoints_near, _precision(measures.keypoint_similarity)),
    )


def _precision(matched: measures.Matched) -> dict[str, Metric]:
    return {"AP50": Metric(measures.AveragePrecision(matched))}


def check(folder: Path) -> list[str]:
    """Read the labels, look for the pictures, read the first of each split, and return sentences about the contents.

    Raises:
        InputError: a file is missing, damaged, or not COCO's.
    """
    _require(folder)
    sentences = []
    for split in SPLITS:
        found = labels(folder, split)
        picture(_paths(folder, split, found)[0], SIZE)
        persons, points = int(found["present"].sum()), int((~found["keypoints"][..., 0].isnan()).any(1).sum())
        one = f"{persons:,} pictures with one person ({points:,} with keypoints)"
        sentences.append(f"{split}2017: {one}, {len(found['present']) - persons:,} with none.")
    kept = _held_out(labels(folder, "train"))
    train, validation, test = int((~kept).sum()), int(kept.sum()), len(found["present"])
    return [*sentences, f"{train:,} for training, {validation:,} for validation and {test:,} for testing."]


def _require(folder: Path) -> None:
    """Raise `InputError` unless the folder has the files and folders of COCO."""
    wanted = [path for split in SPLITS for path in (annotations(folder, split), folder / f"{split}2017")]
    if missing := [path for path in wanted if not path.exists()]:
        raise lacks("coco_persons", str(missing[0]))


# The data


class PersonPictures(Dataset[Batch]):
    """Pictures of a published split, and their labels.

    Args:
        pictures: the pictures of the split, uint8 [pictures, 3, 256, 256].
        found: their `labels`.
        rows: the rows of the pictures to use.
    """

    def __init__(self, pictures: Tensor, found: Mapping[str, Tensor], rows: Tensor) -> None:
        self.rows, self.masks = rows, found["masks"]
        self.columns = {name: column for name, column in found.items() if name != "masks"}
        # A plain attribute would be read from end to end whenever a run computes the fingerprint of its data.
        self.pictures = partial(pictures.index_select, 0)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Batch:
        picture, targets = self.__getitems__([index])
        return picture[0], {task: target[0] for task, target in targets.items()}

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        rows = self.rows[torch.as_tensor(indices)]
        found = {name: column[rows] for name, column in self.columns.items()}
        masks = unpack(self.masks[found["rows"]])  # the last one for pictures without a mask
        masks = masks.masked_fill((found["rows"] < 0).view(-1, 1, 1), IGNORE)
        targets = {"presence": found["present"], "mask": masks, "box": found["boxes"], "keypoints": found["keypoints"]}
        return self.pictures(rows), targets


def data(folder: Path) -> Splits:
    """Return the three splits: pictures uint8 [3, 256, 256], and targets for the measures.

    The first call parses the annotations and decodes the pictures, which takes minutes.

    Args:
        folder: the folder of COCO.

    Raises:
        InputError: a file is missing, damaged, or not COCO's; or the cache cannot be written.
    """
    decoded, found = _read(folder, "train")
    kept = _held_out(found)
    train, validation = (PersonPictures(decoded, found, rows.nonzero().flatten()) for rows in (~kept, kept))
    return Splits(train, validation, _whole(folder, "val"))


def published_splits(folder: Path) -> Splits:
    """Return all of train2017, and val2017 twice.

    Args:
        folder: as for `data`.

    Raises:
        InputError: as for `data`.
    """
    return Splits(_whole(folder, "train"), *[_whole(folder, "val")] * 2)


def _whole(folder: Path, split: str) -> PersonPictures:
    """Return all pictures of a published split."""
    decoded, found = _read(folder, split)
    return PersonPictures(decoded, found, torch.arange(len(decoded)))


def _held_out(found: Mapping[str, Tensor]) -> Tensor:
    """Return which pictures of train2017 are for validation."""
    return torch.tensor([held_out(file_name(identifier)) for identifier in found["identifiers"].tolist()])


def _paths(folder: Path, split: str, found: Mapping[str, Tensor]) -> list[Path]:
    """Return the files of the pictures.

    Raises:
        InputError: some do not exist.
    """
    where = folder / f"{split}2017"
    names, there = [file_name(identifier) for identifier in found["identifiers"].tolist()], set(os.listdir(where))  # noqa: PTH208  # ten times as fast
    if missing := [name for name in names if name not in there]:
        raise InputError(
            f"{where} lacks {len(missing):,} of the {len(names):,} pictures that are used from "
            f"{annotations(folder, split)}, {missing[0]} first. Get {split}2017.zip again."
        )
    return [where / name for name in names]


def _read(folder: Path, split: str) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the decoded pictures of a published split, mapped into memory, and their labels."""
    found = labels(folder, split)
    paths = _paths(folder, split, found)
    what = f"{len(paths):,} pictures of COCO's {split}2017"
    return mapped(f"coco_persons-{REVISION}", paths, partial(_decoded, paths), what=what)["pictures"], found


def _decoded(paths: Sequence[Path]) -> Iterator[Chunk]:
    return ({"pictures": chunk} for chunk in pictures(paths, SIZE))
