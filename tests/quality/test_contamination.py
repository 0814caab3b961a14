import time

import pytest

from rebase_hf.quality.contamination import NGRAM, EvaluationGuard, same_family, task_names
from rebase_hf.quality.duplicates import normalise
from rebase_hf.task import Task

LONG = (
    "On the third of March the ferry to the northern islands was cancelled because a storm had torn the mooring ropes"
)


def task(**change: object) -> Task:
    content = {"name": "tone", "instruction": "Judge.", "examples": [{"input": "So kind of you!", "output": "kind"}]}
    return Task.load(content | {"labels": ["kind", "rude"]} | change)


def guard(*texts: str, of: Task | None = None) -> EvaluationGuard:
    return EvaluationGuard(of or task(), [{"input": text, "output": "kind"} for text in texts])


def test_thirteen_words_in_a_row_overlap_and_twelve_do_not():
    held = guard(LONG)
    run = LONG.split()[4 : 4 + NGRAM]
    assert held.overlap(f"They said: {' '.join(run).upper()}, as you know.") == " ".join(run).lower()
    assert held.overlap(f"They said: {' '.join(run[:-1])}, as you know.") is None


def test_a_shorter_evaluation_text_is_guarded_as_a_whole():
    held = guard("Thanks for nothing, mate!")
    assert held.overlap('He wrote "thanks for nothing mate" and left') == "thanks for nothing mate"
    assert held.overlap("thanks for nothing") is None


def test_a_very_short_text_counts_only_where_it_is_all():
    held = guard("Well done!")
    assert held.overlap("It was well done.") is None
    assert held.equals("well done")
    assert not held.equals("It was well done")
    assert held.texts == ()
    assert held


def test_formulas_are_told_apart_by_their_signs():
    held = guard("What is the result of 3 + 4?", "((1 + 2) * 3 - 4) * 5 + 6 - 7 = ?")
    assert held.overlap("Tell me: what is the result of 3 + 4") is not None
    assert held.overlap("Tell me: what is the result of 3 * 4") is None
    assert not held.equals("What is the result of 3 * 4?")
    assert held.overlap("Solve ((1 + 2) * 3 - 4) * 5 + 6 - 7 = now") is not None
    assert held.overlap("Solve ((1 + 2) * 3 - 4) * 5 * 6 - 7 = now") is None


def test_scripts_without_blanks_are_guarded():
    held = guard("文字列のリストを逆順に並べ替える方法を教えてください")
    assert held.overlap("質問：リストを逆順に並べ替える方法を教えて。") is not None
    assert held.overlap("リストを並べ替える") is None


def test_nothing_is_guarded_without_evaluation_rows():
    held = guard()
    assert not held
    assert held.overlap(LONG) is None
    assert not held.equals("")


def test_each_input_of_several_is_guarded_and_the_label_is_not():
    of = task(
        inputs=["premise", "hypothesis"], examples=[{"premise": "A man sleeps.", "hypothesis": "x", "output": "kind"}]
    )
    row = {
        "premise": "A man in a red coat is feeding the ducks.",
        "hypothesis": "Nobody is outside.",
        "output": "kind",
    }
    held = EvaluationGuard(of, [row])
    assert held.overlap("See: a man in a red coat is feeding the ducks") is not None
    assert held.overlap("nobody is outside") is None  # under 20 characters
    assert held.overlap("kind") is None
    assert held.equals(f"{row['premise']} {row['hypothesis']}")


def test_outputs_of_a_generation_task_are_guarded():
    of = task(labels={}, examples=[{"input": "a", "output": "b"}])
    row = {"input": "x", "output": "Ferry cancelled as storm tears ropes"}
    assert EvaluationGuard(of, [row]).overlap("FERRY CANCELLED AS STORM TEARS ROPES") is not None


HEAD = "In the following sentences, explain the antecedent of the pronoun, or state that it is ambiguous. Sentence: "


def test_the_form_that_evaluation_and_examples_share_is_not_guarded():
    of = task(examples=[{"input": HEAD + "The chef met the waiter before he left.", "output": "kind"}])
    asked = [HEAD + f"{name} told the guard that the gate behind the mill was open." for name in ("Ada", "Bo", "Cy")]
    held = guard(*asked, of=of)
    assert held.overlap(HEAD + "The nurse called the doctor because she was late.") is None
    assert held.overlap("Ada told the guard that the gate behind the mill was open yesterday") is None
    assert held.overlap(HEAD + "Ada told the guard that the gate behind the mill was open.") is not None
    # Where no example has it, it may be a passage that the evaluation rows share: what they say.
    assert guard(*asked).overlap(HEAD) is not None
    assert guard(asked[0], of=of).overlap(HEAD) is not None


def walk(*steps: str) -> str:
    return f"If you follow these steps, do you come back to where you began? {' '.join(steps)} Options: yes, no"


def test_a_form_with_gaps_is_no_overlap_by_itself():
    of = task(examples=[{"input": walk("Go 1 mile north."), "output": "kind"}])
    steps = ["Go 2 miles south.", "Turn left at the old mill.", "Wait there for the ferry to leave again."]
    long, short = walk(*steps), walk("Go 3 miles south.")
    held = guard(long, short, *(walk(f"Go {number} miles west.") for number in range(4, 12)), of=of)
    assert held.overlap(walk("Go 2 miles south.", "Go 2 miles north.")) is None
    assert held.overlap(walk("Turn left at the old mill.", "Wait there for the ferry to leave.")) is not None
    # An input with nothing but form and a few words of its own is guarded as a whole.
    assert held.overlap(f"Well: {short} Thanks!") == normalise(short)
    assert held.overlap(walk("Go 3 miles south.", "Go 3 miles north.")) is None
    # Where no example has the form, it is what the rows say.
    assert guard(long, short).overlap(walk("Go 3 miles south.", "Go 3 miles north.")) is not None


def test_a_constant_input_is_not_guarded():
    options = "yes, no, or nobody can tell from the text"
    of = task(inputs=["text", "options"], examples=[{"text": "So kind!", "options": options, "output": "kind"}])
    rows = [{"text": f"The {name} was late again today.", "options": options, "output": "rude"} for name in "abc"]
    held = EvaluationGuard(of, rows)
    assert held.overlap(options) is None
    assert held.overlap("the b was late again today") is not None
    assert options not in held.texts


def test_many_texts_are_asked_for_in_one_pass():
    texts = [f"what is the {word} of the number {i}" for i in range(5000) for word in ("root", "square")]
    held = guard(*texts)
    row = "what is said here is not what was meant by what is written there " * 15
    began = time.process_time()
    for _ in range(100):
        assert held.overlap(row) is None
    assert time.process_time() - began < 1.0


NLI = ["nyu-mll/multi_nli", "stanfordnlp/snli", "facebook/anli", "SetFit/mnli", "mteb/xnli", "cjvt/si_nli"]
CONALA = ["neulab/conala", "haih2/japanese-conala", "neulab/mconala", "conala-mined"]


@pytest.mark.parametrize(
    ("name", "datasets"),
    [
        ("mnli", NLI),
        ("multi_nli", ["SetFit/mnli", "nyu-mll/multi_nli", "multi-nli-mismatched"]),
        ("snli", ["facebook/anli", "nyu-mll/multi_nli"]),
        ("mconala", CONALA),
        ("conala", CONALA),
        ("squad", ["rajpurkar/squad", "rajpurkar/squad_v2", "squad_it", "deepset/squad2"]),
        ("squad_v2", ["rajpurkar/squad", "rajpurkar/squad_v2"]),
        ("sst2", ["stanfordnlp/sst", "SetFit/sst5", "sst-2"]),
        ("ag-news", ["fancyzhx/ag_news", "AG_News_subset"]),
        ("emotion", ["dair-ai/emotion", "SetFit/emotion"]),
        ("support-triage", ["org/support_triage", "support-triage-v2"]),
        ("boolean_expressions", ["bbh_boolean_expressions", "lukaemon/boolean-expressions"]),
        ("感情", ["org/感情", "感情-v2"]),
    ],
)
def test_a_tasks_own_family_is_known_by_its_names(name, datasets):
    assert [dataset for dataset in datasets if not same_family(dataset, [name])] == []


@pytest.mark.parametrize(
    ("name", "datasets"),
    [
        ("mnli", ["allenai/scitail", "rotten_tomatoes", "mnist", "nlvr", "multi_news", "billsum", "openlanguage"]),
        ("mconala", ["code_search_net", "koala", "coca"]),
        ("squad", ["quac", "quail", "newsqa", "adversarial_qa"]),
        ("emotion", ["motion-capture", "locomotion"]),
        ("tone", ["one_stop_english", "onestop"]),
        ("spam", ["pam50", "sms_scam"]),
        ("movie-reviews", ["app_reviews", "yelp_review_full", "hotel-reviews", "movie_dialogs"]),
        ("customer-complaints", ["subscription_complaints", "customer_letters"]),
        ("support-triage", ["org/ticket-triage", "support_tickets", "triage"]),
        ("sst2", ["glue", "2", "tweet_eval"]),
        ("ag-news", ["multi_news", "news", "bbc-news"]),
        ("date-finder", ["finder", "date_questions"]),
        ("headline", ["news_briefs", "line_up"]),
        ("感情", ["別", "org/data"]),
    ],
)
def test_innocent_sources_stay_in(name, datasets):
    assert [dataset for dataset in datasets if same_family(dataset, [name])] == []


def test_an_organisation_is_no_part_of_the_name():
    assert not same_family("mnli/reviews", ["mnli"])


def test_a_configuration_counts_as_a_name():
    assert same_family("nyu-mll/glue", ["mnli"], config="mnli")
    assert same_family("nyu-mll/glue", ["mnli"], config="mnli_matched")
    assert not same_family("nyu-mll/glue", ["mnli"], config="cola")
    assert not same_family("org/mails", ["default"], config="default")


def test_the_names_of_a_task_are_its_own_and_its_datasets():
    of = task(
        evaluation={"dataset": "nyu-mll/glue", "config": "mnli"}, train={"dataset": "org/seeds", "config": "default"}
    )
    assert task_names(of) == ("tone", "nyu-mll/glue", "org/seeds", "mnli")
    assert task_names(task()) == ("tone",)


def test_every_column_of_texts_of_a_further_set_is_guarded():
    rows = [
        {"title": None, "question": "Who tore the mooring ropes of the ferry?", "story": LONG, "answers": None},
        {"title": None, "question": "Was it a storm?", "story": LONG, "answers": None},
    ]
    held = EvaluationGuard(task(), [], [rows])
    assert held
    assert held.overlap(f"He asked: {rows[0]['question'].lower()}") == "who tore the mooring ropes of the ferry"
    assert held.overlap(" ".join(LONG.split()[2:])) is not None
    assert held.overlap("was it a storm") is None  # under 20 characters, and no input of this task
    assert set(held.texts) == {LONG, rows[0]["question"]}


def test_the_task_s_own_rows_and_further_sets_are_guarded_together():
    held = EvaluationGuard(
        task(), [{"input": LONG, "output": "kind"}], [[{"text": "The clerk was rude to everybody."}]]
    )
    assert held.overlap("Again the clerk was rude to everybody") is not None
    assert held.overlap(LONG) is not None


def test_a_further_set_with_the_task_s_inputs_guards_them_whole():
    held = EvaluationGuard(task(), [], [[{"input": "Well done!", "label": "kind"}, {"input": None, "label": "rude"}]])
    assert held.equals("well done") and not held.equals("kind")


def test_a_column_that_names_kinds_is_not_guarded():
    kinds = ("a complaint about the late delivery", "a question about an invoice")
    rows = [{"text": f"Message number {number} of this long week.", "kind": kinds[number % 2]} for number in range(40)]
    assert EvaluationGuard(task(), [], [rows]).overlap(kinds[0]) is None
    assert EvaluationGuard(task(), [], [rows[:30]]).overlap(kinds[0]) == kinds[0]
    passages = [{"text": row["text"], "kind": LONG + row["kind"]} for row in rows]
    assert EvaluationGuard(task(), [], [passages]).overlap(LONG) is not None


def test_the_form_of_one_set_is_not_looked_for_in_another():
    of = task(examples=[{"input": HEAD + "The chef met the waiter before he left.", "output": "kind"}])
    asked = [{"input": HEAD + f"{name} told the guard about the open gate."} for name in ("Ada", "Bo", "Cy")]
    others = [{"text": f"Another text, number {number}, of another set."} for number in range(30)]
    held = EvaluationGuard(of, [], [asked, others])
    assert held.overlap(HEAD + "The nurse called the doctor because she was late.") is None
    assert EvaluationGuard(of, [], [asked + others]).overlap(HEAD) is not None
