import pytest

from rebase_hf.publish.worth_it import worth_it

GOLD = {"accuracy": 0.93, "accuracy_std": 0.01}
FEW = {"accuracy": 0.7, "accuracy_std": 0.02}


def make_report(student=0.8, *, baselines=None, **comparison):
    return {
        "student": {"accuracy": student, "accuracy_std": 0.03, "ece": 0.1, "ece_std": 0.01},
        "baselines": {"few_examples": FEW} if baselines is None else baselines,
        "comparison": {"metric": "accuracy", "seeds": [0, 1, 2], "max_pairs": 600, **comparison},
        "evaluation": {"rows": 500},
    }


@pytest.mark.parametrize(
    ("student", "said"),
    [
        (0.8, "The student is 0.100 accuracy above the best baseline (same student, the few examples only)."),
        (0.71, "No clear difference: +0.010 accuracy"),
        (0.6, "The dataset did not pay off here: the student is 0.100 accuracy below"),
    ],
)
def test_the_verdict_says_whichever_way_it_falls(student, said):
    assert worth_it(make_report(student)).verdict.startswith(said)


def test_gold_rows_are_what_to_come_near_to_not_a_baseline_to_beat():
    worth = worth_it(make_report(baselines={"few_examples": FEW, "gold_rows": GOLD}))
    assert worth.verdict.startswith("The student is 0.100 accuracy above the best baseline (same student, the few")
    assert worth.verdict.endswith("With as many rows labelled by hand it would be 0.930.")
    assert [contender.is_ceiling for contender in worth.contenders] == [False, True, False]
    alone = worth_it(make_report(baselines={"gold_rows": GOLD}))
    assert (
        alone.verdict == "There is no baseline to compare with. With as many rows labelled by hand it would be 0.930."
    )


def test_an_error_is_marked_as_less_is_better_and_left_out_of_who_has_none():
    worth = worth_it(make_report(baselines={"majority": {"accuracy": 0.3}}))
    assert worth.heads == ("accuracy", "ece (less is better)")
    assert [contender.cell("ece") for contender in worth.contenders] == ["0.100 ± 0.010", "-"]


@pytest.mark.parametrize(
    ("comparison", "said"),
    [
        ({}, "every student is trained on 600 pairs"),
        ({"kind": "setfit"}, "every student is trained on 600 pairs"),
        ({"kind": "encoder"}, "every student is trained on 600 rows, repeated as needed"),
        ({"kind": "linear", "max_pairs": None}, "mean ± standard deviation over 3 seeds"),
    ],
)
def test_terms_say_how_much_each_was_trained(comparison, said):
    assert worth_it(make_report(**comparison)).terms.endswith(said)


def test_terms_say_what_was_left_out_as_leaks():
    terms = worth_it(make_report(leaks={"student": 2, "gold_rows": 5})).terms
    assert "7 training rows that overlapped them left out" in terms
