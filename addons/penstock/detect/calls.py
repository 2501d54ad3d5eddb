"""The finding types that no text alone shows: they need the call, its caller, or both.

``Detectors`` never report these from a text; the policy room asks for them where a rule
names them, and nothing of it runs where none does.
"""

from __future__ import annotations

SYSTEM_PROMPT = "leakage.system_prompt"
CANARY = "leakage.canary"
CONVERSATION = "leakage.conversation"
LOW_LOGPROB = "uncertainty.low_logprob"
# What detect-secrets' plug-ins alone know: found in texts that have left, and from then on.
CANDIDATE = "secret.candidate"

# Each with what it means.
CALL_TYPES: dict[str, str] = {
    SYSTEM_PROMPT: "an answer that repeats a large part of the call's system prompt",
    CANARY: "a marker Penstock planted in a system prompt, somewhere else",
    CONVERSATION: "a secret or personal data of this conversation, passed on",
    LOW_LOGPROB: "an answer whose tokens the model itself found unlikely",
}

# What is remembered of a conversation, and what has to be found for it.
REMEMBERED = ("secret", "pii")
