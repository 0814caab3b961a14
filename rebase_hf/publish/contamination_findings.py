"""Which evaluation sets a dataset was kept apart from, as the card and the report tell it."""

from collections.abc import Mapping
from typing import Any

from rebase_hf.public_text import markdown, public_name

NOT_RECORDED = "This run's report does not record whether its rows were checked against an evaluation set."
NOTHING = "No evaluation set was given, so no row was checked against one."
OFF = "not checked, for `guard_evaluation` is off."


def contamination(report: Mapping[str, Any]) -> list[str]:
    """Return what the rows were checked against, by which tests, and how many went for it: sentences in Markdown."""
    found = report.get("contamination")
    if not isinstance(found, Mapping):
        return [NOT_RECORDED]
    told = _checked(report, found) if found["sets"] else [NOTHING]
    if found.get("own_family"):
        left = _left_out(report, "own_family")
        told.append(f"Rows of sources that by their name may hold the task's own data, left out: {left}.")
    return told


def _checked(report: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    asked, passages, outputs = (found.get(stage) for stage in ("before_asking", "passages", "outputs"))
    words = asked or outputs
    told = [f"Checked against {'; '.join(map(_set, found['sets']))}.{_overlap(words) if words else ''}"]
    if asked:
        what = f"{str(asked['of']).capitalize()} that overlap{_similar(asked)}, left out before anything was asked"
        told.append(f"{what}: {_left_out(report, 'in_evaluation_set')}.")
    elif report.get("index"):
        told.append(f"Retrieved rows: {OFF}")
    if passages:
        told.append(f"Passages that overlap{_similar(passages)} are passed over, uncounted.")
    if outputs:
        near = f"or nearly repeat one (Jaccard similarity of word 3-grams from {outputs['near_duplicate']:g})"
        told.append(f"Outputs that overlap, {near}, dropped: {_dropped(report, 'in_evaluation_set')}.")
        if outputs.get("similarity") is not None:
            told.append(f"Examples that{_similar(outputs, '')}, dropped: {_dropped(report, 'near_evaluation_set')}.")
    else:
        told.append(f"Outputs: {OFF}")
    return told


def _overlap(tests: Mapping[str, Any]) -> str:
    size, own = tests["words_in_a_row"], tests.get("own_words")
    form = f", {own} of them not such as many of them and an example have in common" if own else ""
    return (
        " A text overlaps when, case and punctuation aside, it is an evaluation text, shares "
        f"{size} words in a row with one ({size}-gram){form}, or holds a shorter one of {tests['short_texts_from']} "
        "or more characters whole."
    )


def _similar(tests: Mapping[str, Any], before: str = ", or") -> str:
    if tests.get("similarity") is None:
        return ""
    cosine = f"{tests['similarity']:g}"
    return f"{before} hold a text whose embedding has a cosine of {cosine} or more with an evaluation text's"


def _set(one: Mapping[str, Any]) -> str:
    rows = f" ({one['rows']:,} rows)" if one.get("rows") is not None else ""
    return f"{markdown(public_name(str(one['name'])))}{rows}"


def _left_out(report: Mapping[str, Any], reason: str) -> str:
    return f"{int((report.get('dropped_before') or {}).get(reason) or 0):,}"


def _dropped(report: Mapping[str, Any], reason: str) -> str:
    return f"{int((report.get('dropped') or {}).get(reason) or 0):,}"
