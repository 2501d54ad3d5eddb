"""Translation between three wire formats: OpenAI chat, Anthropic messages, Gemini contents.

Narrow on purpose. A request is read strictly into one neutral ``Conversation`` and written in
the target's format; an answer is read event by event into neutral ``Event`` values and written
in the caller's. What a format cannot say is refused by the field's name, never left out; so is
every field nobody described here. Nothing in here knows a connection, a policy or a clock.
"""
