import math

import pytest

from rebase_hf.quality.spread import Spread, entity_spread, entropy


def test_entropy_and_effective_number_by_hand():
    even = Spread.of(["a", "b", "c", "d"])
    assert (even.count, even.kinds) == (4, 4)
    assert even.entropy == pytest.approx(math.log(4)) and even.effective == pytest.approx(4.0)
    skewed = Spread.of(["a"] * 9 + ["b"])
    assert skewed.entropy == pytest.approx(-(0.9 * math.log(0.9) + 0.1 * math.log(0.1)))
    assert 1.0 < skewed.effective < 2.0
    assert Spread.of(["a", "a"]).effective == 1.0
    assert (Spread.of([]).effective, entropy([])) == (0.0, 0.0)


def test_dates_money_numbers_and_names_are_told_apart():
    found = entity_spread(
        ["On 3 May 2024 and on 2024-05-03 Anna paid $30.50 and 20 euros for 2 of 7 seats, 15 % off."]
    )
    assert {kind: (spread.count, spread.kinds) for kind, spread in found.items()} == {
        "date": (2, 2),
        "money": (2, 2),
        "number": (3, 3),
        "name": (1, 1),
    }


def test_a_name_is_a_run_of_capitalised_words():
    names = entity_spread(["We flew from Acme Bank to the Bank of America with Anna Maria Lind. I think so."])["name"]
    assert (names.count, names.kinds) == (3, 3)
    again = entity_spread(["Ask Anna. We saw Anna."])["name"]
    assert (again.count, again.kinds) == (2, 1)


def test_the_first_word_of_a_sentence_is_a_name_only_where_it_is_one_elsewhere():
    assert entity_spread(["Where is it? The parcel is late. Nobody answers."])["name"].count == 0
    assert entity_spread(["Acme is late. Where is Acme?"])["name"].count == 2
    assert entity_spread(['She said: "Nothing." (Nobody knows.)\nStill, we wait'])["name"].count == 0


def test_texts_that_mention_more_names_have_a_higher_entropy():
    one = entity_spread([f"We saw Anna and {name}." for name in ("Anna", "Anna", "Bob")])["name"]
    many = entity_spread([f"We saw {first} and {name}." for first, name in ("AB", "CD", "EF")])["name"]
    assert many.entropy > one.entropy > 0
