"""Whether a text is clearly in another language than it should be: by its script, or by its small words.

A text of some length can't do without a language's small words ("the", "und", "que"), and they are few: no model and
no download is needed to tell English from German. Only what is clear is told: names, numbers, code and short texts
have no language here, and neighbours such as Danish and Norwegian are not told from each other.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain

# A text with fewer words, or characters of a script without blanks, can be a name, a title or a quotation.
MIN_WORDS = 8
MIN_SIGNS = 12
# In another language is a text of whose words so many are small ones of that language, and for five of them hardly one
# is of its own. `benchmarks/quality_checks.py` counts how often that is wrong.
SMALL_SHARE = 0.2
MIN_SMALL = 3
OWN_SHARE = 0.2
MOST_OWN = 0.3  # of all words; with more of its own a text needs no second look
SCRIPT_SHARE = 0.6
# What a text is in shows at its beginning.
LOOK_AT = 2000

SMALL_WORDS: Mapping[str, frozenset[str]] = {
    language: frozenset(words.split())
    for language, words in {
        "en": "the of and to in is are was were be been it its that this these those with for from by on at as "
        "an or not but have has had do does did will would can could should you your he she they their "
        "his her we our my what which who how when where there than then about into if so me him no",
        "de": "der die das den dem des ein eine einer einem einen und oder aber nicht ist sind war waren wird "
        "werden wurde hat haben hatte ich du er sie es wir ihr mich mir sich zu zum zur von vom mit auf "
        "für aus bei nach über durch um im am als wie was wer wo wenn dass auch nur noch schon kann in an "
        "so",
        "fr": "le la les un une des du de et ou mais est sont était étaient être ont avait je tu il elle nous "
        "vous ils elles ce cette ces que qui quoi dont où dans sur sous pour par avec sans plus pas ne se "
        "sa son ses leur au aux en comme si très",
        "es": "el la los las un una unos unas de del al pero es son era fue ser está están ha han había yo tú "
        "él ella nosotros ellos que quien cual cuando donde como en con sin por para sobre entre no se su "
        "sus lo le les más muy este esta eso qué",
        "it": "il lo la gli le un uno una di del della dei delle dal dalla al alla nel nella sul sulla ma sono "
        "era erano essere ha hanno aveva io tu lui lei noi voi loro che chi cui quando dove come in con "
        "per tra fra su non si suo sua più molto questo questa anche",
        "pt": "os as um uma de do da dos das no na nos nas ao ou mas são era foi ser está estão tem têm eu você "
        "ele ela nós eles elas que quem qual quando onde como em com sem por para pelo pela não se seu "
        "sua mais muito este esta isso também",
        "nl": "de het een en of maar is zijn was waren wordt worden werd heeft hebben had ik jij je hij zij ze "
        "wij we jullie van in op aan met voor door bij naar uit over om te tot als dat die dit deze wat "
        "wie waar wanneer hoe niet geen ook nog er kan",
        "da": "og at det en et den til er som på de med han af for ikke der var mig sig men har om vi min havde "
        "ham hun nu over da fra du ud sin dem os op man hans hvor eller hvad skal selv her alle vil blev "
        "kunne ind når jeg også bliver noget",
        "no": "og at det en et den til er som på de med han av for ikke der var meg seg men har om vi min hadde "
        "ham hun nå over da fra du ut sin dem oss opp man hans hvor eller hva skal selv her alle vil ble "
        "kunne inn når jeg også blir noe",
        "sv": "och att det en ett den till är som på de med han av för inte der var mig sig men har om vi min "
        "hade honom hon nu över då från du ut sin dem oss upp man hans eller vad ska själv här alla vill "
        "blev kunde in när jag också blir något",
        "fi": "ja on ei se että oli hän mutta ovat kun niin myös joka jonka mitä kuin tai jos minä sinä me he "
        "olen ole ollut tämä tässä sen siitä siinä vain nyt vielä sitten kuitenkin sekä",
        "pl": "na do się nie to jest są był była było być że jak ale po przez od dla oraz lub czy który która "
        "które co tak już tylko jego jej ich ten ta te za przy ma może",
        "cs": "na se je že to do ve za by jsem jsou byl byla bylo být ale jako po od pro nebo který která které "
        "co tak už jen jeho její jejich ten ta při má může když není",
        "hu": "az és hogy nem is egy ez volt van de csak már mint meg ki el még ha vagy ezt azt lesz lehet "
        "minden nagyon szerint után között kell olyan amely aki mert",
        "ro": "și în de la cu pe nu este sunt era au fost un din pentru că care ce mai sau dar se prin al ale "
        "lui ei lor acest această când unde cum până după fi",
        "tr": "ve bir bu da de için ile çok ne var mı gibi daha olarak en ama kadar sonra ben sen biz siz değil "
        "olan her ya ki nasıl şey mi oldu",
        "id": "yang dan di dari untuk pada dengan ini itu adalah tidak dalam akan ke oleh juga saya kami mereka "
        "ada atau sebagai karena bisa telah lebih sudah dapat",
        "vi": "và của là có không được trong một những cho với các người này đã để khi đó từ cũng như tôi anh "
        "chị thì mà ra vào",
    }.items()
}
# One letter is as often the name of something.
_WORD = re.compile(r"[^\W\d_]{2,}")

# Scripts other than Latin, which is told by its small words.
_RANGES = {
    "Cyrillic": "\u0400-\u052f",
    "Greek": "\u0370-\u03ff\u1f00-\u1fff",
    "Hebrew": "\u0590-\u05ff",
    "Arabic": "\u0600-\u06ff\u0750-\u077f",
    "Devanagari": "\u0900-\u097f",
    "Bengali": "\u0980-\u09ff",
    "Tamil": "\u0b80-\u0bff",
    "Telugu": "\u0c00-\u0c7f",
    "Thai": "\u0e00-\u0e7f",
    "Georgian": "\u10a0-\u10ff",
    "Armenian": "\u0530-\u058f",
    "Hangul": "\u1100-\u11ff\uac00-\ud7af",
    "Kana": "\u3040-\u30ff",
    "Han": "\u3400-\u4dbf\u4e00-\u9fff",
}
_IN_SCRIPT = {script: re.compile(f"[{signs}]") for script, signs in _RANGES.items()}
_LETTER = re.compile(r"[^\W\d_]")
_SCRIPTS_OF = {
    **dict.fromkeys(("ru", "uk", "be", "bg", "sr", "mk", "kk", "ky", "mn", "tg"), ("Cyrillic",)),
    **dict.fromkeys(("ar", "fa", "ur", "ps"), ("Arabic",)),
    **dict.fromkeys(("hi", "mr", "ne", "sa"), ("Devanagari",)),
    **{"el": ("Greek",), "he": ("Hebrew",), "bn": ("Bengali",), "ta": ("Tamil",), "te": ("Telugu",), "th": ("Thai",)},
    **{"ka": ("Georgian",), "hy": ("Armenian",), "ko": ("Hangul", "Han"), "ja": ("Kana", "Han"), "zh": ("Han",)},
}


def known_language(language: str) -> str | None:
    """Return what a language is called here (`en-GB`: `en`), or None where nothing can be told of it."""
    name = re.split(r"[-_]", language.strip().lower())[0]
    name = {"nb": "no", "nn": "no"}.get(name, name)
    return name if name in SMALL_WORDS or name in _SCRIPTS_OF else None


def script_of(text: str) -> str | None:
    """Return the script other than Latin that most of a text's letters are in, or None."""
    if text.isascii():
        return None
    counts = {script: len(pattern.findall(text)) for script, pattern in _IN_SCRIPT.items()}
    script = max(counts, key=counts.__getitem__)
    enough = counts[script] >= MIN_SIGNS and counts[script] >= SCRIPT_SHARE * len(_LETTER.findall(text))
    return script if enough else None


def language_of(text: str, own: Sequence[str] = ()) -> str | None:
    """Return the language, of those with small words here, that a text is clearly in; None where it is not clear.

    Args:
        own: Languages that it may be in: what they share with another says nothing, and with a few small words that
            are theirs alone it is not clear.
    """
    words = _WORD.findall(text.casefold())
    having = _languages_of_words()
    small = [languages for word in words if (languages := having.get(word)) is not None]
    of_own = [languages for languages in small if not languages.isdisjoint(own)]
    if len(words) < MIN_WORDS or len(of_own) > MOST_OWN * len(words):
        return None
    counts = Counter(chain.from_iterable(languages for languages in small if languages.isdisjoint(own)))
    if not counts:
        return None
    language, most = max(counts.items(), key=lambda item: (item[1], item[0]))
    theirs_alone = sum(language not in languages for languages in of_own)
    clear = most >= max(SMALL_SHARE * len(words), MIN_SMALL) and theirs_alone <= OWN_SHARE * most
    return language if clear else None


@cache
def _languages_of_words() -> dict[str, frozenset[str]]:
    words = frozenset[str]().union(*SMALL_WORDS.values())
    return {word: frozenset(name for name, small in SMALL_WORDS.items() if word in small) for word in words}


@dataclass(frozen=True, slots=True)
class Spoken:
    """What a field may be in: the task's language, and whatever its examples are in.

    Attributes:
        languages: By their small words.
        scripts: Other than Latin.
    """

    languages: tuple[str, ...]
    scripts: tuple[str, ...]

    @classmethod
    def of(cls, language: str, examples: Iterable[str]) -> "Spoken":
        """Return what a field of a task in a known language may be in, given the examples' texts of it."""
        shown = list(examples)
        told = [language_of(text[:LOOK_AT]) for text in (*shown, " ".join(shown))]  # short ones say it together
        languages = (language, *filter(None, told))
        scripts = (*_SCRIPTS_OF.get(language, ()), *filter(None, map(script_of, shown)))
        return cls(tuple(dict.fromkeys(languages)), tuple(dict.fromkeys(scripts)))

    def other(self, text: str) -> str | None:
        """Return the language or script that a text is clearly in and should not be in, or None."""
        start = text[:LOOK_AT]
        script = script_of(start)
        if script is not None:
            return None if script in self.scripts else f"{script} script"
        found = language_of(start, self.languages)
        return None if found is None or found in self.languages else f"language `{found}`"
