import pytest

from rebase_hf.errors import PublishError
from rebase_hf.publish.licenses import derive_license, with_base_models, with_teacher
from rebase_hf.publish.teacher_terms import TeacherLicense, flagged


@pytest.mark.parametrize(
    ("held", "derived"),
    [
        (["mit", "mit"], "mit"),
        (["gpl-2.0", "gpl-2.0"], "gpl-2.0"),
        (["mit", "apache-2.0", "cc-by-4.0"], "cc-by-4.0"),
        (["cc0-1.0", "mit"], "mit"),
        (["cc0-1.0", "gpl-2.0"], "gpl-2.0"),
        (["cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0"], "cc-by-sa-4.0"),
        (["cc-by-4.0", "cc-by-nc-4.0"], "cc-by-nc-4.0"),
        (["mit,cc-by-sa-4.0", "mit"], "cc-by-sa-4.0"),
    ],
)
def test_agreeing_or_most_restrictive_licence_is_taken(held: list[str], derived: str) -> None:
    found = derive_license({f"org/{i}": name for i, name in enumerate(held)})
    assert (found.identifier, found.problems) == (derived, ())


@pytest.mark.parametrize(
    ("held", "said"),
    [
        (["mit", None], "unknown licence: org/1"),
        (["other", "other"], "unknown licence: org/0, org/1"),
        (["cc-by-nd-4.0"], "cc-by-nd-4.0 forbids derivatives: org/0"),
        (["cc-by-sa-4.0", "odbl"], "licences that can't be combined (cc-by-sa-4.0: org/0; odbl: org/1)"),
        (["cc-by-sa-4.0", "cc-by-nc-4.0"], "can't be combined"),
        (["llama3", "mit"], "can't be combined"),
        (["`x` |", "mit"], "unknown licence: org/0"),
        (["proprietary-research-only"], "proprietary-research-only is no licence whose terms are known here: org/0"),
        (["cc", "cc"], "cc is no licence whose terms are known here: org/0, org/1"),
        (["cc0-1.0", "mitt"], "mitt is no licence whose terms are known here: org/1"),
        (["mpl-2.0", "mit"], "licences of which it is not known here whether one covers the others (mit: org/1; mpl"),
    ],
)
def test_what_does_not_add_up_is_said_and_never_guessed(held: list[str | None], said: str) -> None:
    found = derive_license({f"org/{i}": name for i, name in enumerate(held)})
    assert found.identifier is None
    assert said in "; ".join(found.problems)


def test_licences_without_an_order_are_not_said_to_have_one() -> None:
    found = derive_license({"org/0": "apache-2.0", "org/1": "cc-by-4.0", "org/2": "cc0-1.0"})
    assert found.identifier == "cc-by-4.0" and "all permissive, and none of them is the strictest" in found.derivation
    for held in ({"org/0": "cc0-1.0", "org/1": "mit"}, {"org/0": "mit", "org/1": "cc-by-sa-4.0"}):
        assert derive_license(held).derivation.startswith("The most restrictive of the sources' licences")


def test_without_sources_there_is_no_licence_and_no_problem() -> None:
    found = derive_license({})
    assert (found.identifier, found.problems) == (None, ())


@pytest.mark.parametrize(
    ("sources", "teacher", "derived", "said"),
    [
        (["mit"], "apache-2.0", "apache-2.0", "more restrictive than the sources' `mit`"),
        (["cc-by-4.0"], "mit", "cc-by-4.0", "The teacher's (`mit`) asks for no more."),
        (["cc-by-4.0"], "llama3.1", "llama3.1", "more restrictive"),
        (["cc0-1.0"], "gemma", "gemma", "more restrictive"),
        (["cc-by-sa-4.0"], "apache-2.0", "cc-by-sa-4.0", "asks for no more"),
        (["mit"], "mit", "mit", "The teacher's licence is the same."),
        (["llama3.1"], "mit", "llama3.1", "asks for no more"),
        (["mit"], "other", "mit", "All sources"),
        (["mit"], None, "mit", "All sources"),
        ([], "apache-2.0", "apache-2.0", "the teacher's licence"),
        ([], None, None, "No row of a dataset"),
    ],
)
def test_the_teachers_licence_counts_where_it_is_known(sources, teacher, derived, said) -> None:
    found = with_teacher(derive_license({f"org/{i}": name for i, name in enumerate(sources)}), teacher)
    assert (found.identifier, found.problems) == (derived, ()) and said in found.derivation


@pytest.mark.parametrize(
    ("sources", "teacher", "said"),
    [
        ("cc-by-sa-4.0", "cc-by-nc-4.0", "can't be combined (cc-by-nc-4.0: the teacher; cc-by-sa-4.0: the sources)"),
        ("cc-by-sa-4.0", "llama3.1", "can't be combined"),
        ("mit", "cc-by-nc-nd-4.0", "forbids derivatives: the teacher"),
        (None, "mit", "unknown licence: org/0"),
        ("cc0-1.0", "lab-terms", "lab-terms is no licence whose terms are known here: the teacher"),
    ],
)
def test_a_teacher_whose_licence_does_not_fit_is_a_problem(sources, teacher, said) -> None:
    found = with_teacher(derive_license({"org/0": sources}), teacher)
    assert found.identifier is None and said in "; ".join(found.problems)


def test_a_teachers_licence_that_is_no_known_one_is_a_problem_without_sources_too() -> None:
    found = with_teacher(derive_license({}), "lab-terms")
    assert found.identifier is None and "lab-terms is no licence" in found.problems[0]


@pytest.mark.parametrize(
    ("held", "said"),
    [
        (TeacherLicense(), "Its licence is unknown."),
        (TeacherLicense("llama3.1", found="card"), "as its card says. A model that is trained on its outputs"),
        (
            TeacherLicense("other", "lab-research", "https://lab.net/l", "card"),
            "(lab-research), as its card says. What",
        ),
        (TeacherLicense("cc-by-nc-4.0", found="flag"), "(`--teacher-license`). It allows no commercial use."),
        (TeacherLicense("mit", link="https://x y>z", found="card"), "not known to set terms on outputs."),
    ],
)
def test_terms_on_outputs_are_told(held: TeacherLicense, said: str) -> None:
    assert said in held.sentence() and "x y" not in held.sentence()


def test_a_flag_that_names_no_licence_is_refused() -> None:
    assert flagged(None) is None and flagged("unknown") == TeacherLicense()
    assert flagged(" Apache-2.0 ") == TeacherLicense("apache-2.0", found="flag")
    with pytest.raises(PublishError, match="did you mean `apache-2.0`"):
        flagged("apache2.0")


@pytest.mark.parametrize("unknown", [None, "other"])
@pytest.mark.parametrize(("data", "base"), [("cc-by-sa-4.0", "gpl-3.0"), ("mit", "cc-by-nd-4.0")])
def test_a_model_of_unknown_licence_hides_no_other_that_does_not_fit(
    data: str, base: str, unknown: str | None
) -> None:
    found = derive_license({"org/data": data})
    assert with_base_models(found, {"base model": base}).problems
    assert with_base_models(found, {"base model": base, "reranker's base model": unknown}).problems
    assert not with_base_models(found, {"reranker's base model": unknown}).problems
