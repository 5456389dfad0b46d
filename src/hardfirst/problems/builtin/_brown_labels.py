"""What the Brown corpus says of a sentence and its words: the genres, and the tags of each part of speech."""

import re

from hardfirst.errors import InputError

GENRES = {  # by the second letter of a document's name
    "a": "news",
    "b": "editorial",
    "c": "reviews",
    "d": "religion",
    "e": "hobbies",
    "f": "lore",
    "g": "belles_lettres",
    "h": "government",
    "j": "learned",
    "k": "fiction",
    "l": "mystery",
    "m": "science_fiction",
    "n": "adventure",
    "p": "romance",
    "r": "humor",
}
CLASSES = {  # the corpus's tags of each part of speech
    "noun": "nn nn$ nns nns$ np np$ nps nps$ nr nr$ nrs",
    "verb": "vb vbd vbg vbn vbz be bed bedz beg bem ben ber bez do dod doz hv hvd hvg hvn hvz md",
    "adjective": "jj jj$ jjr jjs jjt od",
    "adverb": "rb rb$ rbr rbt rn ql qlp wrb wql",
    "determiner": "at abl abn abx ap ap$ dt dt$ dti dts dtx pp$ wdt wp$",
    "pronoun": "pn pn$ pp$$ ppl ppls ppo pps ppss wpo wps",
    "adposition": "in",
    "conjunction": "cc cs",
    "numeral": "cd cd$",
    "particle": "to rp ex *",
    "punctuation": ". , : ( ) -- ' '' ``",
    "other": "uh nil fw",
}
_CLASS = {tag: number for number, tags in enumerate(CLASSES.values()) for tag in tags.split()}


def part_of_speech(tag: str) -> int:
    """Return the class of a tag, an index in `CLASSES`.

    >>> [list(CLASSES)[part_of_speech(tag)] for tag in ("nn-tl", "pps+bez", "doz*", "*", "fw-in", ",-hl", "--")]
    ['noun', 'pronoun', 'verb', 'particle', 'other', 'punctuation', 'punctuation']

    Raises:
        InputError: the corpus has no such tag.
    """
    if tag.startswith("fw-"):
        return _CLASS["fw"]
    base = re.sub("(-(tl|hl|nc))+$", "", tag).partition("+")[0]
    base = base.rstrip("*") or base
    if base not in _CLASS:
        raise InputError(f"Expected a tag of the Brown corpus; got {tag!r}.")
    return _CLASS[base]
