"""Whether a text is a model's refusal to answer, where an answer should stand.

Told by its beginning, and only of short texts: a refusal begins with what the model will not do, while a text that
tells of one ("He said: I can't help with that") or that is about something else ("I can't help laughing") does not.
A verb of serving must have the request itself, or harm, as its object: customers too can't open, send and pay things.
"""

import re
from functools import cache

# Refusals with their reasons are a paragraph or two.
MAX_CHARS = 800

_APOLOGY = (
    r"(?:(?:(?:i\s?['’]?m|i\sam|we\s?['’]?re|we\sare)\s(?:\w+\s){0,2}sorry|sorry|(?:my\s)?apologies|i\sapologi[sz]e"
    r"|unfortunately|regrettably)\b[^\n.!?]{0,30}?[\s,.;:!—–-]*(?:but\s)?)?"
)
_UNABLE = (
    r"(?:i|we)\s?(?:cannot|can\s?not|can['’]t|won['’]t|will\snot|(?:am|are|['’]m|['’]re)\s(?:unable|not\sable)\sto"
    r"|(?:must|have\sto)\s(?:\w+\s)?decline\sto|(?:am|are|['’]m|['’]re)\snot\s(?:comfortable|going\sto)"
    r"|do(?:\snot|n['’]t)\sfeel\scomfortable)"
)
_REQUEST = r"(?:this|that|your|the|such\san?|such)\s(?:\w+\s)?(?:requests?|instructions?|prompts?|quer(?:y|ies))"
_HARM = (
    r"(?:harmful|hate|hateful|offensive|explicit|inappropriate|discriminat\w+|illegal|dangerous|violen\w+|sexual\w*"
    r"|racist|sexist|derogatory|abusive|toxic|unethical|stereotyp\w+|misleading|policy|policies|guidelines)"
)
_MAKE = (
    r"(?:writ(?:e|ing)|generat(?:e|ing)|creat(?:e|ing)|produc(?:e|ing)|provid(?:e|ing)|rewrit(?:e|ing)|shar(?:e|ing)"
    r"|offer(?:ing)?|engag(?:e|ing)\sin|(?:assist|help)(?:ing)?\swith|discuss(?:ing)?|promot(?:e|ing))"
)
_ENGLISH = (
    rf"{_APOLOGY}{_UNABLE}\s(?:\w+\s)?"
    r"(?:(?:help|assist|be\sof\sassistance|support)(?:ing)?\s(?:you\s)?with\s"
    rf"(?:that|this|it|such|(?:that|this|your|the)\s(?:\w+\s)?(?:request|task|question|topic|content))\b(?!\s\w+ed\b)"
    rf"|(?:comply(?:ing)?\swith|fulfil(?:l|ling)?|honou?r|satisfy|accommodate|complete|process|answer|respond\sto"
    rf"|assist\swith|engage\swith|carry\sout)\s{_REQUEST}\b|(?:answer|respond\sto)\s(?:this|that|your|such\sa)\squestion\b"
    rf"|{_MAKE}\b[^.!?\n]{{0,100}}\b{_HARM}\b)"
)
_AS_AI = (
    r"(?:(?:i\s?['’]?m\s|i\sam\s)?(?:sorry|apologies)\b[^.!?\n]{0,100}[,.!]\s)?as\san?\s(?:ai|artificial\sintelligence|large\slanguage\smodel|language\smodel)"
    r"(?:[\s-](?:\w+\s){0,2}(?:model|assistant|system|chatbot))?(?:\s\w+\sby\s\w+)?\s?,\s"
    r"[^.!?\n]{0,80}?(?:\b(?:cannot|unable|must\sdecline)\b|\b(?:can|could|do|am|is|would)(?:n['’]t|\snot)\b|['’]m\snot\b)"
)
_OTHERS = (
    # German, Dutch
    r"(?:(?:es\s)?tut\smir\s(?:sehr\s)?leid|entschuldigung|leider)?[,.!\s]*(?:aber\s|doch\s)?(?:ich\skann|kann\sich)\s"
    r"(?:\w+\s){0,2}?(?:(?:dabei|damit|hierbei)\s(?:\w+\s){0,2}?nicht\s(?:\w+\s)?(?:helfen|dienen|behilflich)"
    r"|(?:diese[rm]?|ihre[rm]?|deine[rm]?)\s(?:anfrage|bitte|anforderung)\s(?:\w+\s){0,2}?nicht)",
    r"als\s(?:ein\s)?(?:ki|künstliche\sintelligenz|sprachmodell)\b[^.!?\n]{0,60}\b(?:nicht|kein\w*)\b",
    r"(?:het\sspijt\sme|sorry|helaas)?[,.!\s]*(?:maar\s)?(?:ik\skan|kan\sik)\s(?:\w+\s){0,2}?(?:(?:daar|hier)(?:\w+\s|\s)"
    r"(?:\w+\s){0,2}?niet\s(?:\w+\s)?helpen|niet\s(?:helpen\smet\s(?:dit|dat)|voldoen\saan\s(?:dit|uw|je)\sverzoek))",
    r"als\s(?:een\s)?(?:ai|taalmodel)\b[^.!?\n]{0,60}\b(?:niet|geen)\b",
    # French, Spanish, Italian, Portuguese
    r"(?:(?:je\ssuis\s)?(?:vraiment\s)?désolée?|malheureusement)?[,.!\s]*(?:mais\s)?je\sne\s(?:peux|puis)\spas\s"
    r"(?:(?:vous|t['’]|te)\s?)?(?:aider|répondre|accéder|satisfaire|donner\ssuite|traiter)\s(?:\w+\s)?"
    r"(?:cela|ça|ceci|cette\s(?:demande|requête)|votre\s(?:demande|requête)|ce\stype)",
    r"en\stant\squ['’](?:ia|intelligence\sartificielle|assistant\sia)\b[^.!?\n]{0,60}\bpas\b"
    r"|en\stant\sque\smodèle\sde\slang\w+[^.!?\n]{0,60}\bpas\b",
    r"(?:lo\ssiento|lamentablemente|lo\slamento)?[,.!\s]*(?:pero\s)?no\spuedo\s(?:ayudar(?:te|le|les|os)?|asistir(?:te|le)?"
    r"|cumplir|responder|atender)\s(?:con|en|a)\s(?:eso|esto|ello|(?:esa|esta|su|tu)\s(?:solicitud|petición|pregunta))",
    r"como\s(?:una\s)?(?:ia|inteligencia\sartificial|modelo\sde\slenguaje)\b[^.!?\n]{0,60}\bno\b",
    r"(?:mi\sdispiace|purtroppo|spiacente)?[,.!\s]*(?:ma\s)?non\sposso\s(?:aiutar(?:ti|la|vi|e)|assister(?:ti|la|e)"
    r"|soddisfare|rispondere|fornire\sassistenza)\s(?:\w+\s)?(?:questo|ciò|(?:questa|tua|sua)\srichiesta|quest['’])",
    r"(?:in\squanto|come)\s(?:ia|intelligenza\sartificiale|modello\slinguistico)\b[^.!?\n]{0,60}\bnon\b",
    r"(?:desculpe|sinto\smuito|lamento|infelizmente)?[,.!\s]*(?:mas\s)?(?:eu\s)?não\sposso\s(?:ajud(?:ar|á-l[oa]s?)"
    r"|atender|cumprir|responder)\s(?:\w+\s)?(?:isso|isto|nisso|disso|(?:ess[ea]|est[ea]|sua|seu)\s(?:pedido|solicitação))",
    r"como\s(?:uma\s)?(?:ia|inteligência\sartificial|modelo\sde\slinguagem)\b[^.!?\n]{0,60}\bnão\b",
    # Danish, Norwegian, Swedish
    r"(?:(?:jeg\s)?beklager|undskyld|(?:jag\s)?(?:är\s)?(?:ber\som\sursäkt|ledsen|beklagar)|tyvärr|desværre|dessverre)?"
    r"[,.!\s]*(?:men\s)?(?:(?:jeg|jag)\skan|kan\s(?:jeg|jag))\s(?:\w+\s)?(?:ikke|inte)\s(?:hjælpe|hjelpe|hjälpa)\s"
    r"(?:\w+\s){0,2}?med\s(?:det(?:te|ta)?|den(?:ne)?)\b",
    r"som\s(?:en\s)?(?:ai|kunstig\sintelligens|sprogmodel|språkmodell?)\b[^.!?\n]{0,60}\b(?:ikke|inte)\b",
    # Polish, Russian
    r"(?:przykro\smi|przepraszam|niestety)?[,.!\s]*(?:ale\s)?nie\smogę\s(?:w\stym\s|ci\sw\stym\s)?"
    r"(?:pomóc\sw\stym|pomóc\sz\stym|pomóc[.!]|spełnić\stej|zrealizować\stej|odpowiedzieć\sna\sto)",
    r"(?:к\sсожалению|извините|простите|прошу\sпрощения)?[,.!\s]*(?:но\s)?я\sне\sмогу\s(?:вам\s|тебе\s)?"
    r"(?:помочь|выполнить|ответить)\s(?:вам\s|тебе\s)?(?:(?:с|в|на)\s)?(?:эт\w+|ваш\w*|так\w+|подобн\w+)",
    r"как\s(?:ии|языковая\sмодель|искусственный\sинтеллект)\b[^.!?\n]{0,60}\bне\b",
    # Chinese, Japanese, Korean
    r"(?:很?抱歉|对不起|不好意思)[,，。!！\s]*(?:但是?)?我(?:无法|不能|没有办法)(?:帮助|协助|提供|回答|满足|完成|处理|生成|执行)",
    r"作为(?:一个|一名|一款)?(?:ai|人工智能|大?语言模型)[^。!！?？\n]{0,40}(?:无法|不能)",
    r"(?:大変)?(?:申し訳(?:ありません|ございません)|すみません|恐れ入りますが)[^。\n]{0,40}"
    r"(?:お手伝い|お答え|回答|対応|お応え|提供|生成)[^。\n]{0,12}(?:できません|できかねます|いたしかねます)",
    r"(?:죄송합니다|죄송하지만|유감스럽게도)[^\n]{0,50}(?:도와드릴|도움을\s드릴|답변할|답변드릴|제공할|응할|생성할)\s수\s없",
)
_LEADING = re.compile(r"[\s\"'“”„«*_>#-]+")


def refusal_in(text: str) -> str | None:
    """Return the words by which a text is a refusal to answer, or None where it is none."""
    if len(text) > MAX_CHARS:
        return None
    leading = _LEADING.match(text)
    found = _refusal().match(text[leading.end() :].casefold() if leading else text.casefold())
    return found.group() if found else None


@cache
def _refusal() -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{form})" for form in (_ENGLISH, _AS_AI, *_OTHERS)))
