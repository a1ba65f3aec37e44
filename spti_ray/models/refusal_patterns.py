"""Patterns of how refusals, and reasoning without marks, begin in the usual models' answers (plain text, one line).

They let descriptions pass that only look alike: a sorry-looking dog, okay sign hand, the user guide on a table.
"""

from __future__ import annotations

import re

_LEADING_MARKS = r"^[\s\"'`“”„‘’«»_#>(\[\-–—•]*"
_PAUSE = r"[\s,.!:;…—–-]*"
_FILLER = (
    r"(?:(?:okay|ok|alright|all right|hmm+|hm|well|so|right|now|wait|first|got it|sure|certainly)\b"
    + _PAUSE
    + r"){0,4}"
)
_REGRET = r"(?:unfortunately|regrettably|regretfully|apologies|sorry)?" + _PAUSE

_CANNOT = (
    r"(?:i|we)(?: |(?='))(?:can(?:'|no)?t|can not|could(?:n't| not)|won't|will not|(?:am |'m )(?:unable|not able) to|"
    r"(?:am|'m) not (?:allowed|permitted) to|(?:don't|do not) feel comfortable|(?:am|'m) not comfortable|"
    r"(?:don't|do not) have the (?:ability|capability))"
)
_TASK = (
    r"(?:\w+ly )?(?:to |with )?(?:and will not|be able to|actually|directly|assist|provide|create|generat|describ|"
    r"fulfil|comply|do (?:that|this)|writ|continu|complet|answer|identif|discuss|engag|process|view|offer|produc|"
    r"participat|see (?:the|an|any|this|that|your|image)|support|share|give (?:you|a|an|that|any)|recogni[sz]|determin|"
    r"respond|mak(?:e|ing) (?:that|this|a|an|any)|access|analy[sz]|help (?:you|with|by)|help\.|caption|interpret|"
    r"satisf|in good conscience|rewrit|rephras|fill|look at|show you|find an|accommodat|"
    r"carry out|talk about|condone|endors)"
)
_UNABLE = (
    r"(?:describ|generat|provid|comply|assist|fulfil|process|analy[sz]|caption|identif|interpret|determin|"
    r"(?:see|view|access|open|load|display) (?:the|this|that|your|any|an) (?:\w+ )?"
    r"(?:image|picture|photo|attachment|file))"
)
_PROVIDED = r"(?:attached|provided|uploaded|included|given|available|shown)"
_MISSING = (
    r"(?:is missing\s*(?:[.,;:!]|$)|"
    r"(?:(?:is|was|has|did|could|does)(?:n't| not)|can(?:'t|not)|failed to) (?:be |been )?"
    r"(?:attach|upload|includ|load|come through|provid|render|accessib|availab|display(?:ed)?\s*(?:[.,;:!]|$)))"
)
_MODEL = r"(?:\w+ ){0,3}(?:ai|a\.i\.|llm|chatbot|(?:language|vision|text[- ]based|ai)[- ]model)(?![\w-])"

_REFUSALS = (
    r"i(?:'m| am) (?:\w+ ){0,2}sorry(?:\s*[,.;:!…—–-]|\s+(?:but|i|that|to|about|if|for (?:the|any|my))\b)",
    r"sorry\s*(?:[,.!:;—–-]+\s*(?:but |i(?: |'))|but |for (?:the|any) (?:confusion|inconvenience))",
    r"(?:i|we) (?:sincerely |deeply )?apologi[sz]e\b",
    r"(?:my |our )?(?:sincere |deepest )?apologies\s*[,.:;!—–-]*\s*(?:but|for|i)\b",
    r"i(?:'m| am) afraid (?:that )?(?:i|we|this)\b",
    r"i regret\b",
    r"(?:i|we) (?:must|have to|need to) (?:respectfully )?(?:decline|refuse)\b",
    _CANNOT + " " + _TASK,
    r"sorry (?:about|for) (?:that|this|it|any \w+|the \w+)\s*[,.!;:—–-]+\s*(?:but )?(?:i|we)\b",
    r"(?:due to|because of|as per|per|according to|given|under) (?:[\w'-]+ ){0,4}"
    r"(?:guidelines?|polic(?:y|ies)|restrictions?|concerns|rules|limitations|constraints|reasons)\s*,?\s*" + _CANNOT,
    r"i (?:understand|appreciate|see|hear)\b[^.!?]{0,60}[,;.]?\s*(?:but|however),? (?:unfortunately,? )?" + _CANNOT,
    r"(?:unable|not able) to " + _UNABLE,
    r"(?:i|we) (?:don't|do not) (?:\w+ )?have (?:\w+ )?access\b",
    r"(?:i|we)(?:'m| am| are) not (?:able|allowed|permitted|comfortable)\b",
    r"as an? " + _MODEL,
    r"as an? (?:\w+ )?artificial intelligence\b",
    r"i(?:'m| am) (?:just |only )?an? " + _MODEL,
    r"(?:this|that|your|the) (?:request|prompt|content|message|image|input) (?:\w+ )?"
    r"(?:violates|was (?:flagged|blocked)|goes against|"
    r"is against (?:[\w']+ ){0,4}(?:polic|guideline|rules|terms|principles|standards|programming)|"
    r"is (?:inappropriate|not (?:appropriate|allowed|permitted))|"
    r"can(?:'t|not) be (?:processed|fulfilled))",
    r"(?:i|we) (?:don't|do not|can't|cannot|can not) see (?:an?|any|the|your) (?:\w+ )?"
    r"(?:image|picture|photo|attachment)",
    r"(?:there is |there's )?no (?:image|picture|photo)s? (?:(?:was|were|has been|is) )?"
    r"(?:provided|attached|uploaded|given|available)",
    r"(?:there is|there's) no (?:image|picture|photo|attachment)s? "
    r"(?:here\b|(?:for me )?to (?:describ|caption|analy[sz]|see|view)|" + _PROVIDED + "|"
    r"in (?:your|the|this) (?:message|prompt|request|chat|conversation))",
    r"it (?:seems|looks like|appears) (?:that |like )?(?:you(?:'(?:ve|re|d)| (?:have|haven't|are|were|"
    r"forgot|didn't|did|may|might|want|wanted|meant|mean|intended|accidentally|need|would|asked|only|attached|uploaded|provided|sent))|"
    r"your (?:message|request|prompt|question|input|upload|attachment|image|picture|photo|file|text)|"
    r"no (?:image|picture|photo|attachment|file|text|content|prompt|message)|"
    r"there (?:is|was|were|are) no|there's no|there (?:isn't|wasn't)|the prompt)\b",
    r"it (?:seems|looks like|appears) (?:that |like )?the (?:image|picture|photo|attachment|file|link) (?:you \w+ )?"
    + _MISSING,
    r"(?:could you |can you )?please (?:provide|upload|share|attach|clarify|specify) (?:me |us )?(?:with )?"
    r"(?:the|an?|your|more|some|additional)\b",
    r"content (?:policy|filter(?:ed)?|removed|blocked)\b",
    r"(?:es )?tut mir leid\s*[,.:;]",
    r"ich kann (?:(?:ihnen|dir) )?(?:(?:dabei|damit|das|diese[rsnm]?) )?(?:leider )?nicht\b",
    r"(?:je suis )?d[ée]sol[ée]e?\s*,",
    r"je ne (?:peux|suis) pas\b",
    r"lo siento\s*[,.:;]",
    r"no puedo (?:ayudar|proporcionar|crear|generar|describir|cumplir)",
    r"(?:mi )?dispiace\s*[,.:;]",
    r"(?:sinto muito|desculpe|lamento)\s*[,.:;]",
    r"het spijt me\b",
    r"(?:извините|простите|мне (?:очень )?жаль|к сожалению)\s*,",
    r"я не могу (?:помочь|выполнить|создать|описать|предоставить|ответить)",
    r"죄송(?:합니다|하지만)",
    r"xin lỗi\s*[,.]",
)

_FIRST_STEP = (
    r"(?:think|figure|break|analy[sz]|consider|recall|craft|com(?:e|ing) up|writ|describ|creat|generat|produc|provid|"
    r"draft(?:ing)? (?:a|an|the|some|it|one|this)\b|"
    r"output|respond|rephras|fill|complet|follow|ensur|mak(?:e|ing) (?:sure|it|a|the)|start (?:by|with)|"
    r"look at (?:the|this|what)|chang(?:e|ing) (?:the|each|it|a)|go through|parse|understand|identif|"
    r"give (?:a|the|one)|answer|replac|find (?:a|the)|try to|see (?:what|if|how|the (?:user|prompt|request))|"
    r"work (?:on|through|out)|tackle)"
)
_THOUGHTS = (
    r"(?:the|this|our|my) user's (?:request|prompt|question|query|input|message|instruction|asking|example)",
    r"(?:the|this|our|my) user (?:wants?|wanted|asks?|asked|needs?|requests?|requested|gave|provide[sd]?|would like|"
    r"said|says|wrote|expects|didn't|seems to|has (?:given|provided|asked|requested)|just (?:asked|wants|gave|said)|"
    r"is (?:asking|requesting|looking for|trying to get))\b",
    r"hm+" + _PAUSE + r"(?:the|this) user\b",
    r"user (?:wants|wanted|asked|is asking|asks (?:for|to|me|us|that)|"
    r"requests (?:a|an|the|that)|requested|provided|gave)\b",
    r"(?:i|we) need (?:an?|the|some|one) (?:[\w-]+ ){0,4}"
    r"(?:text|caption|description|phrase|sentence|answer|response|title|output)s?\b",
    r"need to (?:craft|come up|writ|describ|creat|generat|produc|provid|output|respond|rephras|fill|complet|ensure|"
    r"answer|replac|draft|give (?:a|the|one)|make sure)",
    r"(?:i|we) (?:need|have|want|ought|am asked|are asked|am supposed|are supposed|am going) to " + _FIRST_STEP,
    r"(?:i|we)(?:'ll|'m going to|'re asked to|'re going to| will| should| must) " + _FIRST_STEP,
    r"(?:i|we)(?: am| are|'re) given\b",
    r"(?:let me|let's|lets|let us) " + _FIRST_STEP,
    r"let's see\s*[,.:;…—–-]",
    r"(?:the|this) (?:task|prompt|instruction|question|request)s? (?:is to|asks?|wants?|says|requires?|gives?)\b",
    r"(?:looking at|based on|analy[sz]ing) the (?:user|prompt|examples?|instructions?|pattern)\b",
    r"(?:thinking|reasoning|thought) process\s*:",
    r"(?:thinking|reasoning)\s*:",
    r"here(?:'s| is) (?:a|the|my) (?:[\w-]+ )?(?:thinking|reasoning|thought) process\b",
)


def _any_of(before: str, openings: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(_LEADING_MARKS + before + "(?:" + "|".join(openings) + ")", re.IGNORECASE)


REFUSAL = _any_of(_FILLER + _REGRET, _REFUSALS)
REASONING = _any_of(_FILLER + r"(?:(?:here|in this (?:case|task|prompt))\s*,?\s*)?", _THOUGHTS)
