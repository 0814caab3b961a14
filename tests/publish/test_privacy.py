import pytest

from rebase_hf.errors import PublishError
from rebase_hf.publish.finished_run import FinishedRun
from rebase_hf.publish.outgoing import checked_files
from rebase_hf.publish.privacy import find_private, look_through, redact, redact_all
from rebase_hf.students.knowledge_store import build_knowledge_store
from tests.index.hashing_encoder import HashingEncoder


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
        ("HF_TOKEN=hf_" + "aB3dE5fG7hJ9kL1mN3pQ", ["key"]),
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


def test_many_texts_are_looked_through_in_linear_time():
    import time

    began = time.process_time()
    for text in ("1 " * 50_000, "a@" * 50_000, "+1 " * 30_000, "A" * 100_000, "0 0-" * 30_000, "eyJ" * 40_000):
        find_private(text)
    assert time.process_time() - began < 5
