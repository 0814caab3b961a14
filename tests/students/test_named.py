import pytest

from rebase_hf.errors import StudentError
from rebase_hf.students import train_student
from rebase_hf.students.named import KINDS, kind_for
from rebase_hf.students.training import check_base_model
from rebase_hf.task import Task


def make_task(**change):
    example = {"input": "the sky is blue", "output": "blue"}
    return Task.load({"name": "t", "instruction": "Say.", "examples": [example], **change})


LABELLED = {"labels": ["blue", "red"]}
TWO_INPUTS = {
    "inputs": ["premise", "hypothesis"],
    "labels": ["yes", "no"],
    "examples": [{"premise": "it rains", "hypothesis": "it is wet", "output": "yes"}],
}


@pytest.mark.parametrize(
    ("change", "kind"),
    [(LABELLED, "setfit"), (TWO_INPUTS, "encoder"), ({"extractive": True}, "extractive"), ({}, "seq2seq")],
)
def test_the_kind_fits_the_task(change, kind):
    assert kind_for(make_task(**change)).name == kind
    assert kind_for(make_task(**change), passages=True).name == "grounded"


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_named_kind_is_taken_where_it_can_do_the_task(kind):
    fits = {"setfit", "encoder", "linear", "seq2seq", "causal", "grounded"}
    if kind in fits:
        assert kind_for(make_task(**LABELLED), kind).name == kind
    else:
        with pytest.raises(StudentError, match="can't do task `t`, a classification task; use one of setfit, encoder"):
            kind_for(make_task(**LABELLED), kind)


def test_an_unknown_kind_is_named_with_the_nearest():
    with pytest.raises(StudentError, match="`encodr` is not known; did you mean `encoder`"):
        kind_for(make_task(**LABELLED), "encodr")


def test_an_unknown_option_is_named_with_the_nearest():
    with pytest.raises(StudentError, match="`encoder` has no option `batchsize`; did you mean `batch_size`"):
        KINDS["encoder"].read_options({"batchsize": 4})
    with pytest.raises(StudentError, match="its options are C"):
        KINDS["linear"].read_options({"rationales": "task"})


def test_options_may_be_texts_as_a_command_line_gives_them():
    options = KINDS["causal"].read_options({"batch_size": "4", "learning_rate": "1e-3", "save_adapter": "true"})
    assert (options.batch_size, options.rate, options.save_adapter) == (4, 1e-3, True)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("encoder", {"batch_size": 0}, "`batch_size` is 0; expected a whole number of at least 1"),
        ("encoder", {"batch_size": 2.5}, "`batch_size` is 2.5; expected a whole number"),
        ("seq2seq", {"batch_size": float("inf")}, "`batch_size` is inf"),
        ("setfit", {"max_length": 20.5}, "`max_length` is 20.5"),
        ("causal", {"lora_rank": 2.5}, "`lora_rank` is 2.5; expected a whole number from 0 to 1024"),
        ("encoder", {"batch_size": "many"}, "`batch_size` is `many`; expected int"),
        ("encoder", {"learning_rate": 3}, "`learning_rate` is 3; expected a number from 1e-08 to 1"),
        ("seq2seq", {"rationales": "first"}, "`rationales` is 'first'; expected one of target, task, none"),
        ("extractive", {"no_answer_threshold": "low"}, "`no_answer_threshold` is `low`"),
        ("linear", {"C": -1}, "`C` is -1"),
    ],
)
def test_a_wrong_value_is_named(kind, options, message):
    with pytest.raises(StudentError, match=message):
        KINDS[kind].read_options(options)


def test_options_are_checked_before_anything_is_loaded_or_paid():
    with pytest.raises(StudentError, match="no option `colour`"):
        train_student(make_task(), [], kind="seq2seq", base_model="/nowhere", colour="red")
    with pytest.raises(StudentError, match="no option `colour`"):
        check_base_model(make_task(), "/nowhere", "seq2seq", {"colour": "red"})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"max_pairs": 2.5}, "`max_pairs` is 2.5; expected a whole number of at least 1"),
        ({"max_pairs": "9"}, "`max_pairs` is '9'"),
        ({"seed": -1}, "`seed` is -1; expected a whole number from 0 to 4294967295"),
        ({"seed": 2**32}, "`seed` is 4294967296"),
    ],
)
def test_what_no_training_could_use_is_named(given, message):
    with pytest.raises(StudentError, match=message):
        train_student(make_task(), [], kind="seq2seq", base_model="/nowhere", **given)


def test_an_index_is_for_a_student_that_reads_one(tiny_t5):
    with pytest.raises(StudentError, match="Student kind `seq2seq` reads no index"):
        train_student(make_task(), [], kind="seq2seq", base_model=tiny_t5, index="/nowhere")


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_has_defaults_that_it_takes(kind):
    assert KINDS[kind].read_options({}) == KINDS[kind].options()
