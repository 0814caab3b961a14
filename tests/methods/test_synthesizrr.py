"""SynthesizRR whole, against a server on loopback: the paper's own properties, on data made to show them."""

import json
import re
import subprocess
import sys
import textwrap
from collections import Counter

import pytest

from rebase_hf import Teacher, generate
from rebase_hf.errors import NoExamplesError, TaskError, TeacherError
from rebase_hf.estimate import estimate_run
from rebase_hf.methods.documents import count_tokens, cut_at_sentence
from rebase_hf.methods.seed_documents import RESERVED_RANKS
from rebase_hf.methods.synthesizrr_options import SynthesizRROptions
from rebase_hf.pipeline import Run
from rebase_hf.plan import make_plan
from rebase_hf.quality.gate import label_counts
from rebase_hf.run_report import run_report
from tests.doubles.hub_server import HubServer
from tests.doubles.tgi_server import TGIServer, status
from tests.doubles.written_answers import asked_label, prompt_of, shown_document, write_as_asked
from tests.methods.conftest import ChosenEncoder, made_word

TASK = {
    "name": "mood",
    "instruction": "Name the mood of a message.",
    "inputs": ["message"],
    "output": "mood",
    "labels": {"glad": "a message that is happy about something", "cross": "a message that complains"},
    "examples": [
        {"message": "q=.9 what a fine day it was at the harbour", "mood": "glad"},
        {"message": "a=.9 nobody answered my letters for a month", "mood": "cross"},
    ],
}
ALONE = {"similarity": (-1.0, 1.0), "context_tokens": (1, 400)}
WIDE = ALONE | {"shot_similarity": (-1.0, 1.0)}


def text(number: int, *axes: str) -> str:
    return " ".join([*axes, *(made_word(30 * number + place) for place in range(24))]) + "."


@pytest.fixture
def index(build):
    """Rows whose cosine with the seed of `glad` falls from .9 to .1, and with that of `cross` likewise."""
    rows = [{"body": text(number, f"q={(99 - number) / 100:.2f}")} for number in range(0, 90, 3)]
    rows += [{"body": text(100 + number, f"a={(99 - number) / 100:.2f}")} for number in range(0, 90, 3)]
    rows.append({"body": f"a fine day at the harbour {text(300)}"})
    return build({"letters": rows}, encoder=ChosenEncoder())


def run_of(index, url, number=12, task=TASK, **options):
    return Run(make_plan(task, index, url, method="synthesizrr", num_examples=number, options=options))


def test_labels_come_balanced_each_text_from_a_document_in_the_range(home, index):
    with TGIServer(answer=write_as_asked) as server:
        examples = list(run_of(index, server.url, 12, context_tokens=(5, 400)).examples())
    assert Counter(example.fields["mood"] for example in examples) == {"glad": 6, "cross": 6}
    for example in examples:
        assert example.fields["message"].startswith(example.fields["mood"])
        assert 0.4 <= example.provenance["score"] <= 0.9 and example.provenance["method"] == "synthesizrr"
        roles = [source["role"] for source in example.sources]
        assert roles[:2] == ["context", "seed"] and set(roles[2:]) == {"shot"}


def test_each_prompt_asks_for_the_seeds_own_label_with_its_phrase_and_shows_shots_of_it_alone(home, index):
    with TGIServer(answer=write_as_asked) as server:
        examples = list(run_of(index, server.url, 12, context_tokens=(5, 400)).examples())
        for request in server.chat_requests:
            label, prompt = asked_label(request), prompt_of(request)
            assert TASK["labels"][label] in prompt
            for other, seed in (("glad", "fine day"), ("cross", "nobody answered")):
                assert (seed in prompt) == (other == label)
            assert request["temperature"] == 0.95 and request["top_p"] == 0.9
    assert len(examples) == 12


def test_the_first_two_ranks_are_shots_and_never_written_from(home, index):
    with TGIServer(answer=write_as_asked) as server:
        list(run_of(index, server.url, 12, **WIDE).examples())
        requests = server.chat_requests
    for label, seed in (("glad", 0), ("cross", 1)):
        ranked = [row.source.cells["body"] for row in index.search(TASK["examples"][seed]["message"], k=60)]
        reserved = ranked[:RESERVED_RANKS]
        of_label = [request for request in requests if asked_label(request) == label]
        assert of_label
        for request in of_label:
            documents = re.findall(r"<document>\n(.*?)\n</document>", prompt_of(request), re.DOTALL)
            assert documents[-1] in ranked[RESERVED_RANKS:] and set(documents[:-1]) <= set(reserved)
        # Best documents first: the third rank is the first that is written from.
        assert ranked[RESERVED_RANKS] in {shown_document(request) for request in of_label}


def test_without_retrieved_shots_every_rank_is_written_from(home, index):
    with TGIServer(answer=write_as_asked) as server:
        list(run_of(index, server.url, 8, shot_kind="seed", **ALONE).examples())
        best = index.search(TASK["examples"][0]["message"], k=1)[0].source.cells["body"]
        assert best in {shown_document(request) for request in server.chat_requests}
        assert all("# Examples" in prompt_of(request) for request in server.chat_requests)
        server.forget()
        list(run_of(index, server.url, 8, shot_kind="none", **ALONE).examples())
        assert not any("# Examples" in prompt_of(r) or "# Documents" in prompt_of(r) for r in server.chat_requests)


def test_what_is_left_out_is_counted_by_its_reason(home, index):
    with TGIServer(answer=write_as_asked) as server:
        run = run_of(index, server.url, 500, context_tokens=(5, 400))
        made = list(run.examples())
    tally = run.tally()
    assert tally.dropped_before["similarity_out_of_range"] > 0 and len(made) < 500
    assert tally.retrieved == tally.asked + sum(tally.dropped_before.values())
    assert tally.outputs == tally.examples + sum(tally.dropped.values()) + sum(tally.quarantined.values())
    with TGIServer(answer=write_as_asked) as server:
        short = run_of(index, server.url, 4, similarity=(-1.0, 1.0), context_tokens=(60, 400))
        with pytest.raises(NoExamplesError, match="document_too_short"):
            list(short.examples())


def test_several_outputs_of_one_answer_are_split_and_counted(home, index):
    with TGIServer(answer=write_as_asked) as server:
        run = run_of(index, server.url, 10, outputs=3, **WIDE)
        examples = list(run.examples())
        asked = len(server.chat_requests)
    tally = run.tally()
    assert len(examples) == 10 and asked == tally.asked == 4 and tally.outputs == 12
    assert sum(tally.dropped.values()) == 2 and set(tally.dropped) <= {"surplus", "label_full"}


def test_a_distribution_of_labels_can_be_asked_for(home, index):
    with TGIServer(answer=write_as_asked) as server:
        examples = list(run_of(index, server.url, 10, labels=("glad=0.8",), **WIDE).examples())
    assert Counter(example.fields["mood"] for example in examples) == {"glad": 8, "cross": 2}


@pytest.mark.parametrize(("retriever", "found"), [("dense", False), ("lexical", True)])
def test_words_find_what_meaning_does_not(home, index, retriever, found):
    with TGIServer(answer=write_as_asked) as server:
        list(run_of(index, server.url, 20, retriever=retriever, shot_kind="none", **ALONE).examples())
        shown = " ".join(shown_document(request) or "" for request in server.chat_requests)
    assert ("harbour" in shown) == found


def test_documents_drawn_at_random_are_others_for_another_seed_and_the_same_for_the_same(home, index):
    def documents(seed):
        with TGIServer(answer=write_as_asked) as server:
            options = {"retriever": "random", "shot_kind": "none", "context_tokens": (1, 400)}
            plan = make_plan(TASK, index, server.url, method="synthesizrr", num_examples=6, options=options, seed=seed)
            return [(one.provenance["row"], one.provenance["score"]) for one in Run(plan).examples()]

    assert documents(1) == documents(1) != documents(2)
    assert {score for _, score in documents(1)} == {0.0}


def test_seeds_can_be_the_train_rows_drawn_without_replacement(home, index, write_rows):
    rows = [{"message": text(500 + n, "q=.9"), "mood": "glad"} for n in range(5)]
    rows += [{"message": text(600 + n, "a=.9"), "mood": "cross"} for n in range(5)]
    task = TASK | {"train": {"path": write_rows(rows)}}
    with TGIServer(answer=write_as_asked) as server:
        examples = list(run_of(index, server.url, 20, task=task, seeds_per_label=3, **WIDE).examples())
    seeds = {source["row"] for example in examples for source in example.sources if source["role"] == "seed"}
    assert all(s["split"] == "train" for e in examples for s in e.sources if s["role"] == "seed")
    assert len(seeds) == 6


def test_seeds_can_be_written_by_the_teacher_first_and_are_not_paid_twice(home, index):
    with TGIServer(answer=write_as_asked) as server:
        options = {"seeds": "generated", "seeds_per_label": 2, **WIDE}
        examples = list(run_of(index, server.url, 6, **options).examples())
        first = [request for request in server.chat_requests if shown_document(request) is None]
        assert len(first) == 4 and len(examples) == 6
        asked = len(server.chat_requests)
        assert list(run_of(index, server.url, 8, **options).examples())[:2] == examples[:2]
        later = server.chat_requests[asked:]
    assert later and all(shown_document(request) is not None for request in later)


def test_seeds_are_asked_for_together_and_counted_before(home, index):
    with TGIServer(answer=write_as_asked, latency=0.1) as server:
        run = run_of(index, server.url, 2, seeds="generated", seeds_per_label=10, **WIDE)
        estimate = estimate_run(run.plan)
        assert len(list(run.examples())) == 2
        assert estimate.requests >= 20 and server.most_in_flight > 4


def test_seeds_that_cannot_be_had_are_said(home, index):
    with TGIServer(answer=lambda request, call: "no", enforce_schema=False) as server:
        run = run_of(index, server.url, 2, seeds="generated", seeds_per_label=1, **WIDE)
        with pytest.raises(TeacherError, match="no usable seed"):
            list(run.examples())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"ranks": (5, 2)}, "`ranks` is"),
        ({"similarity": (0.2, 1.5)}, "`similarity` is 1.5"),
        ({"retriever": "psychic"}, "`retriever` is `psychic`; expected dense"),
        ({"labels": ("sad=.5",)}, "no share of a label"),
        ({"labels": ("glad=.9", "cross=.9")}, "shares are 1.8"),
        ({"seeds": "train"}, "names no `train` rows"),
        ({"shotz": 3}, "no option `shotz`"),
        ({"shots": 3, "shot_kind": "none"}, "`shots` is 3, and does nothing here: it needs a `shot_kind`"),
        ({"shot_similarity": (0.0, 1.0), "shot_kind": "seed"}, "it needs `shot_kind=retrieved`"),
        ({"similarity": (0.2, 0.8), "retriever": "random"}, "`similarity` is (0.2, 0.8), and does nothing here"),
    ],
)
def test_what_does_not_fit_is_said_before_anything_is_asked(home, index, options, said):
    with TGIServer(answer=write_as_asked) as server:
        with pytest.raises(TaskError, match=re.escape(said)):
            run_of(index, server.url, 2, **options)
        assert not server.chat_requests


def test_a_task_without_labels_is_refused(home, index):
    task = {"name": "x", "instruction": "Shorten.", "examples": [{"input": "a b", "output": "a"}]}
    with TGIServer(answer=write_as_asked) as server, pytest.raises(TaskError, match="has none. Use `rebase`"):
        list(generate(task, index, server.url, method="synthesizrr", num_examples=2))


def test_the_evaluation_set_is_never_written_from(home, index, write_rows):
    held = index.search(TASK["examples"][0]["message"], k=10)[6].source.cells["body"]
    task = TASK | {"evaluation": {"path": write_rows([{"message": held, "mood": "glad"}])}}
    with TGIServer(answer=write_as_asked) as server:
        run = run_of(index, server.url, 30, task=task, **WIDE)
        list(run.examples())
        assert held not in {shown_document(request) for request in server.chat_requests}
    assert run.tally().dropped_before["in_evaluation_set"] >= 1


def test_a_train_row_of_the_evaluation_set_is_no_seed(home, index, write_rows, tmp_path):
    held = {"message": "q=.9 the ferry came in at last and everybody on the quay cheered", "mood": "glad"}
    rows = [held, *TASK["examples"]]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = TASK | {"evaluation": write_rows([held]), "train": str(tmp_path / "train.jsonl")}
    with TGIServer(answer=write_as_asked) as server:
        run = run_of(index, server.url, 4, task=task, shot_kind="seed", **ALONE)
        assert len(list(run.examples())) == 4
        assert not any("ferry came in" in prompt_of(request) for request in server.chat_requests)
    assert run.tally().dropped_before["in_evaluation_set"] == 1


def test_evaluation_texts_are_encoded_once_however_many_labels_there_are(home, build, write_rows):
    class Counting(ChosenEncoder):
        seen = Counter[str]()

        def encode(self, texts):
            self.seen.update(texts)
            return super().encode(texts)

    held = f"q=.1 an evaluation text of its own {made_word(500)}"
    index = build({"letters": [{"body": text(n, "q=.6")} for n in range(8)]}, encoder=Counting())
    task = TASK | {"evaluation": write_rows([{"message": held, "mood": "glad"}])}
    with TGIServer(answer=write_as_asked) as server:
        list(run_of(index, server.url, 2, task=task, **WIDE).examples())
    assert Counting.seen[held] == 1


def test_options_can_be_texts_as_a_command_line_gives_them():
    from rebase_hf.methods.named import method_named

    given = {"similarity": "0.3,0.8", "ranks": "2,9", "shots": "5", "exclude_family": "false", "labels": "glad=.5"}
    read = method_named("synthesizrr").read_options(given)
    expected = SynthesizRROptions(
        similarity=(0.3, 0.8), ranks=(2, 9), shots=5, exclude_family=False, labels=("glad=.5",)
    )
    assert read == expected
    with pytest.raises(TaskError, match="Option `shots` is `many`; expected int or NoneType"):
        method_named("synthesizrr").read_options({"shots": "many"})


@pytest.mark.parametrize(
    ("given", "most", "cut"),
    [
        ("One two. Three four. Five six.", 5, "One two."),
        ("One two. Three four. Five six.", 6, "One two. Three four."),
        ("no sentence ends in here at all", 3, "no sentence ends"),
        ("It cost 3.50 pounds. And more.", 8, "It cost 3.50 pounds."),
        ("short.", 50, "short."),
        ("\u4e00\u4e8c\u3002\u4e09\u56db", 3, "\u4e00\u4e8c\u3002"),
        ("\u4e00" * 50, 20, "\u4e00" * 20),
        ("\u0e01" * 50, 2, "\u0e01" * 32),
        ("a" * 100_000, 3, "a" * 48),
    ],
)
def test_a_document_is_really_cut(given, most, cut):
    assert cut_at_sentence(given, most) == cut and count_tokens(cut_at_sentence(given, most)) <= most


def test_a_label_that_is_full_is_not_asked_for_any_more(home, index):
    def answer(request, call):
        # Every second text for `glad` is one that is there already.
        written = write_as_asked(request, call)
        spoilt = asked_label(request) == "glad" and sum(map(ord, prompt_of(request))) % 2
        return '{"message": "glad to say the very same thing once more"}' if spoilt else written

    def decided(**settings):
        with TGIServer(answer=answer) as server:
            teacher = Teacher(server.url, **settings)
            options = {"shot_kind": "none", **ALONE}
            run = Run(make_plan(TASK, index, teacher, method="synthesizrr", num_examples=20, options=options))
            return [one.fields for one in run.examples()], run.tally(), len(server.chat_requests)

    one_by_one, tally, requests = decided(max_concurrency=1)
    assert Counter(fields["mood"] for fields in one_by_one) == {"glad": 10, "cross": 10}
    assert tally.dropped["duplicate_output"] > 3 and tally.dropped_before["label_full"] > 3
    # What is left out is not asked for, but for what was in flight when its label became full.
    assert requests <= tally.asked + 1
    assert tally.retrieved == tally.asked + sum(tally.dropped_before.values())


@pytest.mark.parametrize(
    ("shares", "total", "counts"),
    [
        ({"a": 0.5, "b": 0.5}, 7, {"a": 4, "b": 3}),
        ({"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}, 100, {"a": 34, "b": 33, "c": 33}),
        ({"a": 0.9, "b": 0.1}, 15, {"a": 14, "b": 1}),
        ({"a": 1.0, "b": 0.0}, 3, {"a": 3, "b": 0}),
    ],
)
def test_shares_become_counts_that_add_up(shares, total, counts):
    assert label_counts(shares, total) == counts


def test_a_seed_that_cannot_be_had_ends_nothing(home, index):
    def answer(request, call):
        written = write_as_asked(request, call)
        first = shown_document(request) is None
        return status(400) if first and sum(map(ord, written)) % 2 else written

    options = {"seeds": "generated", "seeds_per_label": 6, **WIDE}
    with TGIServer(answer=answer) as server:
        run = run_of(index, server.url, 6, **options)
        assert len(list(run.examples())) == 6
        asked = len(server.chat_requests)
        assert estimate_run(run_of(index, server.url, 6, **options).plan).finished
        told = run_report(run, command="", num_validation=0)["seeds"]
        assert 0 < len(told) < 12 and len(server.chat_requests) == asked


def test_rows_of_a_named_train_set_stand_under_its_own_licence(tmp_path):
    with HubServer() as hub:
        hub.add_repo("org/ours", {"README.md": "---\nlicense: cc-by-nc-4.0\n---\n# Ours\n"})
        code = """
        from rebase_hf.methods.seeds import named_license
        print([named_license("org/ours", None), named_license("org/none", None)])
        """
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)],
            env=hub.env(tmp_path / "home", HubServer.token),
            capture_output=True,
            text=True,
        )
    assert done.stdout.strip() == "['cc-by-nc-4.0', None]", done.stderr
