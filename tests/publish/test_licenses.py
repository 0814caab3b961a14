import pytest

from rebase_hf.publish.licenses import derive_license


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
    ],
)
def test_what_does_not_add_up_is_said_and_never_guessed(held: list[str | None], said: str) -> None:
    found = derive_license({f"org/{i}": name for i, name in enumerate(held)})
    assert found.identifier is None
    assert said in "; ".join(found.problems)


def test_without_sources_there_is_no_licence_and_no_problem() -> None:
    found = derive_license({})
    assert (found.identifier, found.problems) == (None, ())
