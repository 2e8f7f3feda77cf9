"""Who is asked about in a chat with an agent: what the user told it, or what it answered.

Both stand in one store, the layers `input` and `output` tell which is which, and an answer of the
agent repeats the words of what it was told.  A question says which is meant: "did you recommend",
"your suggestion" ask for an answer, "I", "my" for what the user told.

What a user told may be a standing instruction: "Always cite the source when I ask about history".
It has to be found whenever its subject comes up, though it shares few words with a question.
"""

from __future__ import annotations

import re

from nimad.patterns import lazy_pattern

INPUT, OUTPUT = "input", "output"

_SAYING = (
    "say|tell|recommend|suggest|advise|propose|mention|explain|give|list|describe|write|show"
    "|said|told|recommended|suggested|advised|proposed|mentioned|explained|gave|given|listed"
    "|described|wrote|written|showed|shown"
)
_PAST = _SAYING[_SAYING.index("said") :]
_AGENT = (
    # English
    r"(?:did|had) you\b",
    rf"have you (?:\w+ )?(?:{_SAYING})\b",
    rf"you(?:['’]ve| have| had)? (?:\w+ )?(?:{_PAST})\b",
    r"your (?:\w+ )?(?:answer|suggestion|recommendation|advice|explanation|reply)",
    # German
    r"hast du\b|haben sie (?:mir|uns)\b",
    r"dein(?:e[nrm]?)? (?:\w+ )?(?:antwort|vorschl|empfehl|erklärung|rat\b)",
    # Spanish, French
    r"(?:me|nos) (?:has |habías )?(?:recomend|suger|dij|aconsej|explic)",
    r"(?:recomendaste|sugeriste|dijiste|aconsejaste|explicaste)\b",
    r"tu (?:respuesta|sugerencia|recomendación|consejo|réponse|suggestion|conseil)",
    r"as-tu\b|avez-vous\b",
    r"(?:as|avez) (?:dit|recommandé|conseillé|suggéré|proposé|expliqué)",
    # Russian
    r"(?:ты|вы) (?:\w+ )?(?:сказал|(?:по)?советовал|рекомендовал|предл|объяснил)",
    r"(?:тво|ваш)\w* (?:ответ|совет|предложени|рекомендаци)",
)
_OF_AGENT = lazy_pattern(
    rf"\b(?:{'|'.join(_AGENT)})"
    r"|[你您](?:之前|上次|曾经|刚才)?(?:[给向跟]我们?)?(?:推荐|建议|说过|告诉|提到|解释)",
    re.IGNORECASE,
)
"""Asks for what the agent answered; where a word begins is looked for once, for all of them."""
_USER = (
    r"I\b(?!\.)|(?:[Mm](?:y|e|ine|yself)|[Ww]e|[Oo]urs?|us)\b",
    r"(?:[Ii]ch|[Mm]ir|[Mm]ich|[Mm]ein(?:e[nrms]?)?|[Ww]ir|[Uu]ns(?:er\w*)?)\b",
    r"(?:[Yy]o|[Mm]is?|[Nn]osotr[oa]s|[Nn]uestr[oa]s?)\b",
    r"(?:[Jj]e|[Mm]on|[Mm]es|[Nn]ous|[Nn]otre)\b|[JjMm]['’]",
    r"(?:[Яя]|[Мм]не|[Мм]еня|[Мм]о(?:й|я|е|ё|и|ю|его|ей|их)|[Мм]ы|[Нн]ам|[Нн]аш\w*)\b",
)
_OF_USER = lazy_pattern(
    rf"\b(?:{'|'.join(_USER)})"
    r"|[我咱]"
)
"""Asks for what the user told."""


_STANDING = "always|never|from now on|whenever"
_STANDING += "|immer|nie|niemals|ab jetzt|von nun an|siempre|nunca|a partir de ahora"
_STANDING += "|toujours|jamais|désormais|à partir de maintenant|всегда|никогда|отныне"
_DENSE_STANDING = "以后|今后|从现在起|总是|始终|永远|每次|务必"
_STANDING_WORDS = (*_STANDING.split("|"), *_DENSE_STANDING.split("|"))
_STANDING_WORDS = tuple(  # "never" stands in "whenever", too
    word for word in _STANDING_WORDS if sum(each in word for each in _STANDING_WORDS) == 1
)
_ASCII_WORDS = tuple(word for word in _STANDING_WORDS if word.isascii())
_INSTRUCTION = lazy_pattern(
    rf"\W*(?:(?:please|also|and|bitte|por favor|пожалуйста),? )*(?:{_STANDING})\b"
    rf"|.{{0,200}}\b(?:{_STANDING})\b[^.!?\n]*\b(?:when(?:ever)? I|if I|wenn ich|cuando (?:yo|te)"
    rf"|quand je|когда я)\b|\W*请?(?:{_DENSE_STANDING})"
    rf"|.{{0,100}}(?:{_DENSE_STANDING})[^。！？]*我问",
    re.IGNORECASE,
)


_BEGINNING = 256
"""Length of the part of a text in which it says so: no rule looks further, but for what stands
before its first letter [characters]."""


def is_instruction(text: str) -> bool:
    """Whether a text says at its beginning what is to be done always, or when something comes."""
    # most texts have none of these words there, and the pattern takes 15 us
    folded = text[:_BEGINNING].casefold()
    for word in _ASCII_WORDS if text.isascii() else _STANDING_WORDS:
        if word in folded:
            return bool(_INSTRUCTION.match(text))
    return False


def layer_asked(text: str) -> str | None:
    """The layer that a question asks of: INPUT, OUTPUT; None when it does not tell."""
    if _OF_AGENT.search(text):
        return OUTPUT
    return INPUT if _OF_USER.search(text) else None
