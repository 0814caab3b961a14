"""What kind of task each task of the kit is, in the words of the bank's dataset cards (`task_categories`).

Written down from the tasks' own descriptions, before any row was retrieved. Where a card of the same kind of data
could carry either of two words, both count: a yes/no question about a passage is `text-classification` on BoolQ's
card, and `question-answering` on PubMedQA's.
"""

from pathlib import Path

import yaml

CLASSIFIED = frozenset({"text-classification"})
ASKED = frozenset({"question-answering", "multiple-choice"})
WORKED_OUT = frozenset({"question-answering", "text2text-generation"})  # GSM8K's card has the second

FAMILIES = {
    "anthropic_corrigible_neutral_hhh": CLASSIFIED | ASKED,
    "anthropic_myopic_reward": CLASSIFIED | ASKED,
    "anthropic_one_box_tendency": CLASSIFIED | ASKED,
    "anthropic_self_awareness_text_model": CLASSIFIED | ASKED,
    "banking77": CLASSIFIED,
    "bbh_boolean_expressions": CLASSIFIED | WORKED_OUT,
    "bbh_date_understanding": ASKED | WORKED_OUT,
    "bbh_navigate": CLASSIFIED | ASKED,
    "bbh_object_counting": WORKED_OUT,
    "bbh_snarks": CLASSIFIED | ASKED,
    "bbh_sports_understanding": CLASSIFIED | ASKED,
    "boolq": CLASSIFIED | ASKED,
    "clinc150": CLASSIFIED,
    "clinc20_oos": CLASSIFIED,
    "commonsenseqa": ASKED,
    "creak": CLASSIFIED,
    "crowdflower_emotion": CLASSIFIED,
    "dbpedia14": CLASSIFIED,
    "gsm8k": WORKED_OUT,
    "hate_speech_da": CLASSIFIED,
    "hypo_l": CLASSIFIED,
    "mnli": CLASSIFIED,
    "pubmedqa": CLASSIFIED | ASKED,
    "question_intimacy": CLASSIFIED,
    "strategyqa": CLASSIFIED | ASKED,
    "ten_dim": CLASSIFIED,
    "xquad_en": ASKED,
}


def source_categories(bank: Path) -> dict[str, frozenset[str]]:
    """Return for each of the bank's folders what its card calls its kind of task."""
    found = {}
    for card in sorted(bank.glob("*/README.md")):
        metadata = yaml.safe_load(card.read_text().split("---")[1])
        found[card.parent.name] = frozenset(metadata["task_categories"])
    return found
