import pytest

from rebase_hf.errors import StudentError
from rebase_hf.students.chat_text import PLAIN_CUE, completion_tokens, end_tokens, prompt_text, prompt_tokens
from rebase_hf.students.texts import source_text
from rebase_hf.students.trainer_run import load_pretrained
from rebase_hf.task import Task


@pytest.fixture(scope="module")
def task():
    return Task.load(
        {
            "name": "reverse",
            "instruction": "Turn it round.",
            "inputs": ["text", "hint"],
            "examples": [{"text": "xy", "hint": "none", "output": "yx"}],
        }
    )


@pytest.fixture
def model_and_tokenizer(tiny_chat):
    return load_pretrained("AutoModelForCausalLM", tiny_chat)


def test_the_prompt_is_the_models_own_template_up_to_the_reply(model_and_tokenizer):
    _, tokenizer = model_and_tokenizer
    assert prompt_text(tokenizer, "Hello") == "<|user|>Hello<|end|><|assistant|>"


def test_prompt_and_completion_together_are_the_conversation_as_the_template_writes_it(model_and_tokenizer, task):
    model, tokenizer = model_and_tokenizer
    source = source_text(task, task.examples[0])
    prompt = prompt_tokens(task, tokenizer, task.examples[0], "none", "", 500)
    written = completion_tokens(tokenizer, source, "yx", end_tokens(model, tokenizer))
    turns = [{"role": "user", "content": source}, {"role": "assistant", "content": "yx"}]
    assert prompt + written == tokenizer.apply_chat_template(turns, return_dict=False)
    assert tokenizer.decode(written) == "yx<|end|>"


def test_what_a_template_puts_behind_the_end_of_a_turn_is_not_learnt(model_and_tokenizer):
    model, tokenizer = model_and_tokenizer
    tokenizer.chat_template = tokenizer.chat_template.replace("<|end|>{% endfor %}", "<|end|>\n{% endfor %}")
    written = completion_tokens(tokenizer, "say", "yx", end_tokens(model, tokenizer))
    assert tokenizer.decode(written) == "yx<|end|>"


def test_a_template_that_writes_a_reply_otherwise_is_not_forced(model_and_tokenizer):
    model, tokenizer = model_and_tokenizer
    tokenizer.chat_template = "{% if add_generation_prompt %}A{% else %}B{% endif %}"
    written = completion_tokens(tokenizer, "say", "yx", end_tokens(model, tokenizer))
    assert tokenizer.decode(written) == "yx<|end|>"


def test_a_model_that_thinks_aloud_is_told_not_to(model_and_tokenizer):
    _, tokenizer = model_and_tokenizer
    tokenizer.chat_template += "{% if enable_thinking %}<think>{% else %}quiet{% endif %}"
    assert prompt_text(tokenizer, "say").endswith("quiet")


def test_without_a_template_a_plain_cue_stands_before_the_reply(model_and_tokenizer, task):
    model, tokenizer = model_and_tokenizer
    tokenizer.chat_template = None
    ids = prompt_tokens(task, tokenizer, task.examples[0], "none", "", 500)
    assert tokenizer.decode(ids) == source_text(task, task.examples[0]) + PLAIN_CUE
    assert tokenizer.decode(completion_tokens(tokenizer, "s", "yx", end_tokens(model, tokenizer))) == "yx<|end|>"


def test_of_a_long_row_the_end_of_its_longest_input_is_left_out(model_and_tokenizer, task):
    _, tokenizer = model_and_tokenizer
    row = {"text": "0123456789" * 50, "hint": "keep me"}
    ids = prompt_tokens(task, tokenizer, row, "none", "", 200)
    text = tokenizer.decode(ids)
    assert len(ids) == 200
    assert text.startswith("<|user|>Turn it round.") and text.endswith("hint: keep me<|end|><|assistant|>")
    assert "text: 0123456789" in text


def test_of_several_long_inputs_each_keeps_its_beginning(model_and_tokenizer, task):
    _, tokenizer = model_and_tokenizer
    row = {"text": "0123456789" * 50, "hint": "keep this " * 40}
    ids = prompt_tokens(task, tokenizer, row, "none", "", 200)
    text = tokenizer.decode(ids)
    assert 190 <= len(ids) <= 200
    assert text.startswith("<|user|>Turn it round.") and text.endswith("<|end|><|assistant|>")
    parts = text.removesuffix("<|end|><|assistant|>").split("\n")[-2:]
    assert [part[:12] for part in parts] == ["text: 012345", "hint: keep t"]
    assert abs(len(parts[0]) - len(parts[1])) <= 1


@pytest.mark.parametrize("room", [-20, 0, 30])
def test_an_instruction_that_leaves_no_room_is_named(model_and_tokenizer, task, room):
    _, tokenizer = model_and_tokenizer
    with pytest.raises(StudentError, match=f"has 3[0-9] tokens, and there is room for {room}"):
        prompt_tokens(task, tokenizer, {"text": "ab" * 50, "hint": ""}, "none", "", room)


def test_every_token_that_ends_a_text_for_the_model_counts(model_and_tokenizer):
    model, tokenizer = model_and_tokenizer
    model.generation_config.eos_token_id = [tokenizer.eos_token_id, 7]
    assert end_tokens(model, tokenizer) == {tokenizer.eos_token_id, 7}
    model.generation_config.eos_token_id = None
    assert end_tokens(model, tokenizer) == {tokenizer.eos_token_id}
