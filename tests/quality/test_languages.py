import pytest

from rebase_hf.quality.languages import Spoken, known_language, language_of, script_of

TEXTS = {
    "en": "The ferry to the islands was late because of the storm that had come in from the west.",
    "de": "Die Fähre zu den Inseln hatte wegen des Sturms, der aus dem Westen kam, eine Stunde Verspätung.",
    "fr": "Le bateau pour les îles avait du retard à cause de la tempête qui est venue dans la nuit.",
    "es": "El barco de las islas llegó tarde por la tormenta que había entrado desde el oeste en la noche.",
    "it": "Il traghetto per le isole era in ritardo per la tempesta che era arrivata nella notte con il vento.",
    "pt": "O barco para as ilhas estava atrasado por uma tempestade que não tinha parado com a noite.",
    "nl": "De boot naar de eilanden was te laat door de storm die in de nacht uit het westen was gekomen.",
    "da": "Færgen til øerne var forsinket, fordi stormen var kommet ind fra vest og ikke ville holde op.",
    "sv": "Färjan till öarna var sen eftersom stormen hade kommit in från väster och inte ville sluta.",
    "fi": "Lautta oli myöhässä, koska myrsky oli niin kova että se ei voinut lähteä, mutta hän odotti sen.",
    "pl": "Prom na wyspy nie przypłynął, bo burza była tak silna, że nie można było go już zobaczyć do rana.",
    "cs": "Loď na ostrovy se zpozdila, protože bouře byla tak silná, že se nedalo nic dělat a ani to nebylo možné.",
    "hu": "A komp nem indult el, mert az a vihar, amely este jött, már nagyon erős volt, és még most is az.",
    "ro": "Feribotul nu a plecat pentru că era o furtună care a venit din vest și nu se mai vedea la mal.",
    "tr": "Gemi çok geç kaldı ve bu bir sorun oldu, ama sonra hava daha iyi oldu ve biz de yola çıktık.",
    "id": "Kapal itu tidak berangkat karena badai yang datang dari barat sudah lebih kuat dan tidak bisa dilalui.",
    "vi": "Chuyến phà đã không đi được vì cơn bão, và các hành khách cũng phải ở lại trong một ngày với nhau.",
}  # fmt: skip
NO_LANGUAGE = [
    "Wolfgang Amadeus Mozart, Johann Sebastian Bach, Ludwig van Beethoven, Franz Schubert",
    "for i in range(10): print(items[i].name, end=', ')",
    "A. motel\nB. chair\nC. hospital\nD. people\nE. hotels",
    "12.5 kg, 3 x 4 = 12, 17:45, 2024-05-01",
    "Der Spiegel",
    "",
]


@pytest.mark.parametrize(("language", "text"), TEXTS.items())
def test_a_sentence_tells_its_language(language, text):
    assert language_of(text) in (language, *{"da": ("no",)}.get(language, ()))
    assert Spoken.of(language, []).other(text) is None
    others = [other for other in TEXTS if {other, language} not in ({"da", "sv"},) and other != language]
    assert [other for other in others if Spoken.of(other, []).other(text) is None] == []


@pytest.mark.parametrize("text", NO_LANGUAGE)
def test_what_is_not_clear_passes(text):
    assert all(Spoken.of(language, []).other(text) is None for language in TEXTS)


def test_a_text_that_quotes_another_language_passes():
    assert (
        Spoken.of("en", []).other(f"Translate the following sentence into English for me: {TEXTS['de'][:60]}") is None
    )


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("Паром опоздал из-за шторма, который пришёл с запада.", "Cyrillic"),
        ("渡轮因为从西边来的暴风雨而晚点了一个小时。", "Han"),
        ("嵐のためフェリーは一時間遅れました。", "Kana"),
        ("폭풍 때문에 배가 한 시간 늦었습니다.", "Hangul"),
        ("تأخرت العبارة بسبب العاصفة التي جاءت من الغرب", "Arabic"),
        ("The word for it is 渡轮.", None),
        ("北京", None),
    ],
)
def test_a_script_is_told(text, script):
    assert script_of(text) == script
    assert Spoken.of("en", []).other(text) == (f"{script} script" if script else None)


def test_a_languages_own_scripts_pass():
    assert Spoken.of("ja", []).other("渡轮因为从西边来的暴风雨而晚点了一个小时。") is None
    assert Spoken.of("ru", []).other("Паром опоздал из-за шторма, который пришёл с запада.") is None
    assert Spoken.of("ru", []).other(TEXTS["en"]) == "language `en`"
    assert Spoken.of("zh", []).other("Massachusetts Institute of Technology") is None


def test_examples_allow_what_they_are_in_also_together():
    assert Spoken.of("en", [TEXTS["de"]]).other(TEXTS["de"]) is None
    assert (
        Spoken.of("en", ["Ist das nicht der Mann?", "Wo sind die anderen und wer ist das?"]).other(TEXTS["de"]) is None
    )
    assert Spoken.of("en", ["Паром опоздал из-за шторма."]).scripts == ("Cyrillic",)


@pytest.mark.parametrize(
    ("tag", "known"), [("en-GB", "en"), ("pt_BR", "pt"), ("nb", "no"), ("ZH", "zh"), ("yo", None), ("code", None)]
)
def test_language_tags_are_read_generously(tag, known):
    assert known_language(tag) == known
