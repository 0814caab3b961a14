from pathlib import Path

import pytest

from rebase_hf.errors import PublishError
from rebase_hf.public_text import public
from rebase_hf.publish.finished_run import FinishedRun
from rebase_hf.publish.outgoing import checked_files
from rebase_hf.publish.privacy import find_private, look_through, redact, redact_all
from rebase_hf.students.knowledge_store import build_knowledge_store
from tests.index.hashing_encoder import HashingEncoder

BANK = Path(__file__).parents[2] / "examples" / "bank"
PEM = "-----BEGIN PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("Write to ann.berg+shop@mail.co.uk today", ["email"]),
        ("<ann@mail.net>, bob_1@x-y.org.", ["email", "email"]),
        ("call +49 30 901820 or (030) 9018-2000", ["phone", "phone"]),
        ("my number is 212-736-5000, or 0171 555 0042", ["phone", "phone"]),
        ("card 4111 1111 1111 1111 expired", []),  # one digit over and over is nobody's
        ("card 4539 1488 0343 6467 expired", ["card"]),
        ("pay to DE89 3704 0044 0532 0130 00 please", ["iban"]),
        ("06 12 34 56 78 or 06.12.34.56.78", ["phone", "phone"]),
        ("415 555 2671, 1-415-555-2671", ["phone", "phone"]),
        ("0049 30 901820; 030/901820; 0151 23456789; +49 (0)30 901820", ["phone"] * 4),
        ("+914044621160 and 07700 800123", ["phone", "phone"]),
        ("Call me on 4155552671. Tel.: 01223217712, my phone number is 12345678.", ["phone"] * 3),
        ("card 4539148803436467, 3714 496353 98431", ["card", "card"]),
        ("HF_TOKEN=hf_" + "aB3dE5fG7hJ9kL1mN3pQ", ["key"]),
        ("hf_" + "xhdzkpzqxlmdzyhrmufzmzvdpzdtmwztqx", ["key"]),
        ("sk_live_" + "abcdefghijklmnop1234, rk_test_" + "4eC39HqLyjWDarjtT1zdp7dc", ["key", "key"]),
        ("sk-ant-" + "api03-AbCdEf0123456789, nvapi-" + "AbCdEf0123456789xyz", ["key", "key"]),
        ("gsk_" + "4mQ9xZt7Lw2BvR8nKp3Y, github_pat_" + "11ABCDEFG0abcdefghij_xy", ["key", "key"]),
        ("api_" + "x8Kq2mZ7vB4nW9tR, xoxb-" + "1234567890-abcdefghijkl", ["key", "key"]),
        ("use sk-proj-" + "abcdefghij0123456789XYZ", ["key"]),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----", ["key"]),
        ("http://ann:s3cret@host/path", ["key"]),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P", ["key"]),
    ],
)
def test_what_is_personal_or_secret_is_found(text, kinds):
    assert [found.kind for found in find_private(text)] == kinds
    if kinds:
        assert find_private(redact(text)) == []


@pytest.mark.parametrize(
    "text",
    [
        "order 88120 of 12.05.2024 at 10:45 cost 1,299.00 for 3-4 people",
        "version 1.2.3.4, ISBN 978-3-16-148410-0, 2024-05-12, 555-0142",
        "write to info@example.com or help@shop.test",
        "call +1 212 555 0123 in the story, or 020 7946 0123",
        "the ratio is 16:9 at 1920x1080, id 20240512093000, EAN 4006381333931",
        "user@host and @handle, a@b",
        "from 1990-1995 1,000,000 units, 3.14159265358979",
        "years 2005-2008 2009 2010 2012, hours 0900-1300 1400-1800, Nature (2019) 123 4567",
        "2 700 000 000 km2, 450,000-2000 = 448000, 10,440,000/290000, +1000000 points, $100,000 (99.99%)",
        "2024-05-12T10:45:00+02:00, 2024/05/12, SKU 415-55526, model 0815, part 900-00457-01, 4790842463458965203",
        "call me at 10:45 on 2024-05-12, phone 3310, text us by 5, mobile plan 2000, order 4412239001",
        "sk-learn-pipeline-for-text-classification, hf_hub_download_with_progress_bar, sk_live_short",
        "api_response_handler_for_old_clients, key-value-stores-of-the-world, npm_config_registry_address",
        "DE89 is a road; hf_short; sk-8; commit 0123456789abcdef0123456789abcdef01234567",
        "",
    ],
)
def test_what_is_not_is_left_alone(text):
    assert find_private(text) == [] and redact(text) == text


def test_the_rest_of_a_text_stays_as_it_was():
    assert redact("Hi ann@mail.net, call +49 30 901820!") == "Hi [email], call [phone]!"
    assert redact_all({"a@mail.net": ["b@mail.net", 3, None, ("x",)]}) == {"a@mail.net": ["[email]", 3, None, ["x"]]}


def test_findings_say_where_and_not_what():
    found = look_through([("train row 3, message", "ann@mail.net and bob@mail.net"), ("README.md", "nothing")])
    assert found and found.counts == {"email": 2}
    assert str(found) == "2 of kind `email` (train row 3, message, ...)" and "ann" not in str(found)
    assert not look_through([("README.md", "nothing")])


def test_a_knowledge_store_with_personal_texts_is_not_published(run):
    folder, store = FinishedRun.open(run), run / "student" / "knowledge"
    told = {"knowledge/manifest.json": store / "manifest.json"}
    build_knowledge_store(run / "student", ["Write to ann@mail.net."], license="mit", encoder=HashingEncoder())
    with pytest.raises(PublishError, match=r"knowledge store holds .* 1 of kind `email` \(knowledge 0\)"):
        checked_files(folder, told, redacted=True, keep_private=False)
    assert checked_files(folder, told, redacted=False, keep_private=True) == told
    build_knowledge_store(run / "student", ["Write to the office."], license="mit", encoder=HashingEncoder())
    assert checked_files(folder, told, redacted=False, keep_private=False) == told


def test_ordinary_texts_hold_nothing_personal():
    texts = [text for bank in sorted(BANK.rglob("*.jsonl")) for text in bank.read_text("utf-8").splitlines()]
    found = look_through((text, text) for text in texts)
    assert len(texts) > 900 and not found, str(found)


def test_what_is_shown_and_what_is_published_hide_the_same_keys():
    for text in (f"{prefix}4mQ9xZt7Lw2BvR8nKp3Y" for prefix in ("hf_", "sk_live_", "gsk_", "ghp_", "sk-ant-", "xai-")):
        assert redact(f"use {text}") == "use [key]" and public(f"use {text}") == "use ***"
    assert public(f"in {PEM}{'A' * 64}\n-----END PRIVATE KEY----- it") == "in *** it"
    assert public("https://:hf_@a.net, ftp://u:p@b.net/x") == "https://a.net, ftp://b.net/x"


def test_many_texts_are_looked_through_in_linear_time():
    import time

    began = time.process_time()
    for text in (
        "1 " * 50_000,
        "a@" * 50_000,
        "+1 " * 30_000,
        "A" * 100_000,
        "0 0-" * 30_000,
        "eyJ" * 40_000,
        PEM * 4_000,
    ):
        find_private(text)
    assert time.process_time() - began < 5
