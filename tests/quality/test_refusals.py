import pytest

from rebase_hf.quality.refusals import MAX_CHARS, refusal_in

DECLINED = [
    "I cannot help with that.",
    "I'm sorry, but I can't assist with that request.",
    "I’m really sorry, but I can’t help you with this.",
    "Sorry, I am unable to fulfill your request.",
    "I apologize, but I cannot generate content that promotes hate or discrimination.",
    "Unfortunately, I must respectfully decline to write harmful messages.",
    "As an AI language model, I don't have personal experiences.",
    "I'm sorry, as an AI language model, I do not have access to this information.",
    "I'm sorry, but the text is offensive. As an AI assistant, I cannot rewrite it.",
    "I cannot answer this question, as no context was given.",
    '"I won\'t comply with this request."',
    "Es tut mir leid, aber ich kann dabei nicht helfen.",
    "Als KI-Sprachmodell kann ich diese Frage nicht beantworten.",
    "Het spijt me, maar ik kan je daar niet mee helpen.",
    "Je suis désolé, mais je ne peux pas vous aider avec cette demande.",
    "En tant qu'IA, je ne peux pas répondre.",
    "Lo siento, pero no puedo ayudarte con eso.",
    "Mi dispiace, ma non posso soddisfare questa richiesta.",
    "Desculpe, mas não posso ajudar com isso.",
    "Beklager, men jeg kan ikke hjælpe dig med det.",
    "Jag kan tyvärr inte hjälpa dig med detta.",
    "Przykro mi, ale nie mogę w tym pomóc.",
    "Извините, но я не могу помочь вам с этим.",
    "很抱歉，我无法提供这样的内容。",
    "作为一个AI语言模型，我无法回答这个问题。",
    "申し訳ありませんが、そのご依頼にはお答えできません。",
    "죄송하지만 그 요청은 도와드릴 수 없습니다.",
]
LEGITIMATE = [
    "I can't help but smile when I see this.",
    "I can't help but feel uneasy about violent films.",
    "I cannot open the door of the parcel station.",
    "I can't complete my order, the page hangs.",
    "I am unable to create an account with your app.",
    "Sorry, I can't process your answer: my phone is broken.",
    "I'm sorry, but I disagree with you.",
    "I won't help him move again.",
    "I can't answer the phone at work.",
    "The clerk only said: \"I'm sorry, but I can't assist with that request.\" So I wrote to the manager.",
    "As an artist, I cannot live on this.",
    "As an AI researcher, I cannot say that I was surprised.",
    "Als Lehrer kann ich das nicht gutheißen.",
    "Ich kann die Rechnung nicht öffnen.",
    "No puedo abrir la puerta con esta llave.",
    "Je ne peux pas ouvrir la porte.",
    "Jeg kan ikke hjælpe mig selv.",
    "我不能打开这个文件。",
    "Why does the assistant say that it cannot help with that?",
    "",
]


@pytest.mark.parametrize("text", DECLINED)
def test_an_answer_that_declines_is_told(text):
    assert refusal_in(text)


@pytest.mark.parametrize("text", LEGITIMATE)
def test_a_text_about_something_else_is_not(text):
    assert refusal_in(text) is None


def test_a_long_text_that_begins_so_is_a_text():
    begin = "I cannot help with that. "
    assert refusal_in(begin + "She put the letter down and looked out at the harbour. " * 5)
    assert refusal_in(begin.ljust(MAX_CHARS + 1, "x")) is None
