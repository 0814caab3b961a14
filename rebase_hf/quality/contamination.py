"""Keep the evaluation set out of training: by the name of a source, by the words of a text, by similarity."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from rebase_hf.labelled_rows import Rows
from rebase_hf.quality.duplicates import normalise, tokens, words
from rebase_hf.task import Task

# The n-gram length of GPT-3's and PaLM's contamination checks; shorter evaluation texts count as a whole.
NGRAM = 13
# A whole text this short ("yes", "what time is it") says nothing about where it comes from.
MIN_CHARS = 20
SIMILAR = 0.95
# What this share of the evaluation set has in common with an example of the task is its form, not what it says.
FORM_SHARE = 0.5
# So are the runs of four words that a tenth of it and an example have (`do you return to the`), though each row fills
# the gaps between them anew: of 13 words in a row eight must be none of them. `python -m benchmarks.quality_precision`
# tells how often what is found then gives a test row away.
FORM_RUN = 4
FORM_RUN_SHARE = 0.1
OWN_WORDS = 8
# A short text that so many rows have, on average over its column, names their kind.
KIND_ROWS = 20
# What a dataset's name ends in for a language or a version: no part of the family's name.
_SUFFIXES = frozenset(
    ("en", "de", "fr", "es", "it", "pt", "nl", "da", "sv", "pl", "ru", "zh", "ja", "ko", "ar", "hi", "tr", "v", "r")
)
# Names of configurations that say nothing about what is in them.
_ANY_CONFIG = frozenset(("default", "plain_text", "main", "all", "full", "raw", "standard", "train"))
_VOWELS = "aeiouy"


class EvaluationGuard:
    """What an evaluation set says, asked whether a text gives any of it away.

    A text overlaps when it shares 13 words in a row with an evaluation input, eight of them that input's own, or holds
    whole an evaluation input that has none such. Where an evaluation row has several inputs, each of at least 20
    characters is guarded, and their combination; for a generation task the outputs are too. Case, punctuation and
    blanks do not count, nor does an input that half of the evaluation set and an example of the task have in common.
    A word is not an input's own where a tenth of the evaluation set and an example have it in one run of four words
    (`Find a movie similar to ...`).

    Args:
        rows: The task's evaluation rows.
        sets: The rows of further evaluation sets; every column of texts is guarded, and whole inputs where a set has
            the task's input fields.

    Attributes:
        texts: What is guarded, each text once.
    """

    def __init__(self, task: Task, rows: Sequence[Mapping[str, str]], sets: Sequence[Rows] = ()) -> None:
        said = [[list(dict.fromkeys(guarded_texts(task, row))) for row in rows], *map(_texts_of_rows, sets)]
        texts: dict[str, None] = {}
        whole_only: list[str] = []
        self._grams: set[tuple[str, ...]] = set()
        for texts_of_rows in said:
            form = _Form(task, texts_of_rows)
            distinct = dict.fromkeys(text for texts in texts_of_rows for text in texts)
            kept = [t for t in distinct if len(plain := normalise(t)) >= MIN_CHARS and plain not in form.texts]
            texts.update(dict.fromkeys(kept))
            for text in kept:
                grams = form.own_grams(words(text))
                self._grams.update(grams)
                whole_only += [] if grams else [text]
        self.texts = tuple(texts)
        self._whole_only = _Phrases(tokens(text) for text in dict.fromkeys(whole_only))
        whole = [row for other in sets for row in other if all(row.get(name) is not None for name in task.inputs)]
        self._whole = {normalise(task.input_text(row)) for row in (*rows, *whole)}

    def __bool__(self) -> bool:
        return bool(self._whole or self.texts)

    def overlap(self, text: str) -> str | None:
        """Return the words that a text shares with the evaluation set, or None."""
        if self._grams:
            for gram in _ngrams(words(text)):
                if gram in self._grams:
                    return " ".join(gram)
        return self._whole_only.found_in(tokens(text)) if self._whole_only else None

    def equals(self, text: str) -> bool:
        """Return whether a text is, normalised, a whole evaluation input, however short."""
        return normalise(text) in self._whole


def guarded_texts(task: Task, row: Mapping[str, str]) -> Iterator[str]:
    """Yield the texts of a row that are kept apart: its inputs, together and each, and what is to be generated."""
    yield task.input_text(row)
    if len(task.inputs) > 1:
        yield from (row[name] for name in task.inputs)
    if task.kind == "generation":
        yield row[task.output]


def _texts_of_rows(rows: Rows) -> list[list[str]]:
    """Return what each row of a set says, in the columns of texts that it has."""
    columns = [name for name in dict.fromkeys(name for row in rows for name in row) if _is_said(rows, name)]
    return [list(dict.fromkeys(text for name in columns if (text := row.get(name)) is not None)) for row in rows]


def _is_said(rows: Rows, column: str) -> bool:
    """Whether a column says something of each row, and does not just name its kind: a label, a topic, a language."""
    texts = [text for row in rows if (text := row.get(column)) is not None]
    distinct = set(texts)
    return len(texts) < KIND_ROWS * len(distinct) or any(len(words(text)) >= NGRAM for text in distinct)


class _Form:
    """What evaluation rows have in common with an example of the task.

    Attributes:
        texts: Whole texts, normalised, that half of the rows have.
    """

    def __init__(self, task: Task, texts_of_rows: Sequence[Sequence[str]]) -> None:
        known = [text for example in task.examples for text in guarded_texts(task, example)]
        texts = {normalise(text) for text in known}
        runs = {run for text in known for run in _ngrams(words(text), FORM_RUN)}
        rows_with: Counter[str | tuple[str, ...]] = Counter()
        for row in texts_of_rows:
            rows_with.update({plain for text in row if (plain := normalise(text)) in texts})
            rows_with.update({run for text in row for run in _ngrams(words(text), FORM_RUN) if run in runs})
        most, some = (max(2.0, share * len(texts_of_rows)) for share in (FORM_SHARE, FORM_RUN_SHARE))
        self.texts = {text for text in texts if rows_with[text] >= most}
        self._runs = {run for run in runs if rows_with[run] >= some}

    def own_grams(self, words: list[str]) -> list[tuple[str, ...]]:
        """Return the runs of 13 words in a text of which eight, at least, are not form."""
        if not self._runs:
            return list(_ngrams(words))
        own = [1] * len(words)
        for start, run in enumerate(_ngrams(words, FORM_RUN)):
            if run in self._runs:
                own[start : start + FORM_RUN] = [0] * FORM_RUN
        return [gram for i, gram in enumerate(_ngrams(words)) if sum(own[i : i + NGRAM]) >= OWN_WORDS]


class _Phrases:
    """Short runs of tokens, all looked for in one pass over a text."""

    def __init__(self, phrases: Iterable[list[str]]) -> None:
        self._phrases = set(map(tuple, phrases))
        lengths: dict[str, set[int]] = {}
        for phrase in self._phrases:
            lengths.setdefault(phrase[0], set()).add(len(phrase))
        self._lengths = {start: sorted(found) for start, found in lengths.items()}

    def __bool__(self) -> bool:
        return bool(self._phrases)

    def found_in(self, text: list[str]) -> str | None:
        for i, token in enumerate(text):
            for length in self._lengths.get(token, ()):
                if (run := tuple(text[i : i + length])) in self._phrases:
                    return " ".join(run)
        return None


def _ngrams(words: list[str], size: int = NGRAM) -> Iterator[tuple[str, ...]]:
    return (tuple(words[i : i + size]) for i in range(len(words) - size + 1))


def task_names(task: Task) -> tuple[str, ...]:
    """Return the names under which a task's own dataset may stand in an index."""
    references = [r for r in (task.evaluation, task.train) if r is not None and r.dataset]
    configs = [r.config for r in references if r.config and r.config not in _ANY_CONFIG]
    return (task.name, *(str(r.dataset) for r in references), *configs)


def same_family(dataset: str, names: Iterable[str], *, config: str | None = None) -> bool:
    """Return whether a dataset's name says that it may be the data that one of `names` comes from.

    ReBase bans a source whose address contains the task's name, so that `mnli` lets `multi_nli`, `snli` and `anli`
    through, and `mconala` lets `conala` through. Here a name stands for itself, without a version number, a language
    or the letter before an acronym (`mnli`, `snli`: `nli`; `mconala`: `conala`), and as an acronym (`multi_nli` is
    `mnli`), and matches a source's name or a run of the words in it. A configuration's name counts as one of the
    dataset (`glue`, config `mnli`).
    """
    runs = _runs(dataset)
    if config and config not in _ANY_CONFIG:
        runs |= _runs(config)
    return any(stem in runs for name in names for stem in _stems(name))


def _name_parts(name: str) -> list[str]:
    """Return the words and numbers of a name without its organisation; `squad_v2` has `squad`, `v` and `2`."""
    return re.findall(r"[^\W\d_]+|\d+", name.rsplit("/", 1)[-1].lower())


def _plain(parts: list[str]) -> list[str]:
    return [part for i, part in enumerate(parts) if i == 0 or not (part.isdigit() or part in _SUFFIXES)]


def _stems(name: str) -> set[str]:
    stems: set[str] = set()
    for parts in (_name_parts(name), _plain(_name_parts(name))):
        if parts:
            stems |= {"".join(parts), "".join(part[0] for part in parts[:-1]) + parts[-1]}
            stems |= {_without_prefix(parts[0])} if len(parts) == 1 else set()
    # Two letters say too little; two Chinese characters are a word.
    return {stem for stem in stems if len(stem) >= (3 if stem.isascii() else 2) and not stem.isdigit()}


def _runs(name: str) -> set[str]:
    parts = _name_parts(name)
    runs = {"".join(parts[i:j]) for i in range(len(parts)) for j in range(i + 1, len(parts) + 1)}
    return runs | {_without_prefix(part) for part in parts} | _stems(name)


def _without_prefix(word: str) -> str:
    """Return a word without the letter that tells one dataset of a family from another, where it has such a letter.

    That is `m` or `x` (multilingual, cross-lingual) before a consonant, or any letter before two consonants in a word
    of at most five, which no plain word has: `mconala`, `xcopa`, `snli`, `anli`; not `emotion`, `tone` or `spam`.
    """
    if len(word) < 4 or word[1] in _VOWELS:
        return word
    if word[0] in "mx" or (len(word) <= 5 and word[2] not in _VOWELS):
        return word[1:]
    return word
