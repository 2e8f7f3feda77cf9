"""Secrets in texts that are imported: found by a short list of patterns, and masked.

What is found is what is written in a form of its own: keys of the services below, tokens, private
keys, cards.  A password in a sentence has no form, so none is found.  A match is replaced by
`[masked KIND]`; nothing of it is kept.

======== =======================================================================================
kind     what
======== =======================================================================================
key      API keys by their prefix: OpenAI and Anthropic (sk-), AWS (AKIA, ASIA), GitHub (ghp_ and
         the like, github_pat_), GitLab (glpat-), Google (AIza), Slack (xox), Stripe (sk_live_),
         Hugging Face (hf_), npm (npm_), PyPI (pypi-), Telegram's bots, SendGrid (SG.)
token    JSON Web Tokens; what follows `Bearer`; passwords in URLs; values of names that end in
         key, token, secret or password and have 16 characters and more with a digit
private  a private key in PEM, to its end or that of the text
card     13 to 19 digits that begin like a card's and pass Luhn's check (ISO/IEC 7812-1)
======== =======================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

_PRIVATE = re.compile(
    r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----.*?"
    r"(?:-----END [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)",
    re.DOTALL,
)
_KEY = re.compile(
    r"(?<![\w-])(?:sk-[\w-]{20,200}|[rs]k_(?:live|test)_\w{16,200}|(?:AKIA|ASIA)[A-Z0-9]{16}"
    r"|gh[pousr]_\w{30,255}|github_pat_\w{22,255}|glpat-[\w-]{20,64}|AIza[\w-]{35}"
    r"|xox[abeoprs]-[\w-]{10,250}|hf_[A-Za-z0-9]{30,64}|npm_[A-Za-z0-9]{36}|pypi-[\w-]{50,250}"
    r"|\d{8,10}:AA[\w-]{33}|SG\.[\w-]{20,24}\.[\w-]{40,50})(?![\w])"
)
_TOKEN = re.compile(
    r"(?<![\w-])eyJ[\w-]{8,4000}\.eyJ[\w-]{8,4000}\.[\w-]{10,4000}"
    r"|(?<=Bearer )[\w.~+/-]{16,4000}=*"
    r"|(?<=://)[^\s/:@]{1,100}:[^\s/@]{3,200}(?=@)"
)
_NAMED = re.compile(
    r"((?i:key|token|secret|passwd|password)[\"']?\s{0,3}[:=]\s{0,3}[\"']?)"
    r"(?=[\w.~+/-]{0,200}\d)([\w.~+/-]{16,200}={0,2})"
)
_CARD = re.compile(r"(?<![\w.-])[2-6](?:[ -]?\d){12,18}(?![\w-]|\.\d)")


def mask(text: str) -> tuple[str, int]:
    """The text without secrets, and how many there were."""
    found = 0

    def put(kind: str, kept: int = 0) -> Callable[[re.Match[str]], str]:
        def replace(match: re.Match[str]) -> str:
            nonlocal found
            if kind == "card" and not _is_card(match[0]):
                return match[0]
            found += 1
            return f"{match[kept] if kept else ''}[masked {kind}]"

        return replace

    text = _PRIVATE.sub(put("private"), text)
    text = _KEY.sub(put("key"), text)
    text = _TOKEN.sub(put("token"), text)
    text = _NAMED.sub(put("token", 1), text)
    return _CARD.sub(put("card"), text), found


def mask_all(value: Any) -> tuple[Any, int]:
    """The same for every text in a JSON value, names of fields left out."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, (list, tuple)):
        pairs = [mask_all(one) for one in value]
        return type(value)(one for one, _ in pairs), sum(number for _, number in pairs)
    if isinstance(value, dict):
        made = {name: mask_all(one) for name, one in value.items()}
        return {n: one for n, (one, _) in made.items()}, sum(number for _, number in made.values())
    return value, 0


def _is_card(text: str) -> bool:
    """Luhn's check; 19 digits with the same one all along are no card."""
    digits = [int(sign) for sign in text if sign.isdigit()]
    doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2]]
    return len(set(digits)) > 1 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0
