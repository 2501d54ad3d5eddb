"""Bytes to Exchange and back, sans-io: one file per API family, listed literally below.

``read_request`` always answers an Exchange: what no family recognises is read as unknown
JSON or text, so that a rule about content holds for formats nobody described yet.
"""

from __future__ import annotations

from penstock.exchange import Destination, Exchange, HttpRequest
from penstock.wire import ollama, replicate, services, unknown, watsonx
from penstock.wire.anthropic import messages as anthropic_messages
from penstock.wire.anthropic import other as anthropic_other
from penstock.wire.bedrock import agents as bedrock_agents
from penstock.wire.bedrock import converse as bedrock_converse
from penstock.wire.bedrock import invoke as bedrock_invoke
from penstock.wire.cohere import calls as cohere
from penstock.wire.family import Family
from penstock.wire.gemini import generate as gemini
from penstock.wire.gemini import interactions as gemini_interactions
from penstock.wire.gemini import other as gemini_other
from penstock.wire.jsonrpc import calls as jsonrpc
from penstock.wire.openai import chat as openai_chat
from penstock.wire.openai import media as openai_media
from penstock.wire.openai import relatives as openai_relatives
from penstock.wire.openai import responses as openai_responses
from penstock.wire.openai import stores as openai_stores

# Most specific first; a family that claims a path by its shape alone comes late. MCP comes
# before the families that go by path: an MCP server may stand at any path.
FAMILIES: tuple[Family, ...] = (
    jsonrpc.MCP,
    jsonrpc.A2A,
    *anthropic_messages.FAMILIES,
    *openai_relatives.FAMILIES,
    *openai_chat.FAMILIES,
    *openai_responses.FAMILIES,
    # Vendors' own APIs, before the OpenAI shapes whose path ends some of them share.
    *gemini.FAMILIES,
    *gemini_interactions.FAMILIES,
    *gemini_other.FAMILIES,
    *anthropic_other.FAMILIES,
    *bedrock_converse.FAMILIES,
    *bedrock_invoke.FAMILIES,
    *bedrock_agents.FAMILIES,
    *ollama.FAMILIES,
    *watsonx.FAMILIES,
    *replicate.FAMILIES,
    *services.FAMILIES,
    *cohere.FAMILIES,
    *openai_media.FAMILIES,
    *openai_stores.FAMILIES,
    *openai_chat.BY_SHAPE,
    *unknown.FAMILIES,
)

_BY_API = {family.api: family for family in reversed(FAMILIES)}


def recognise(request: HttpRequest, destination: Destination) -> Family:
    """The first family that claims the request; the unknown families claim what is left."""
    for family in FAMILIES:
        if family.recognise(request, destination):
            return family
    return FAMILIES[-1]


def read_request(request: HttpRequest, destination: Destination) -> Exchange:
    """The request as an Exchange. Never raises; ``problem`` says what could not be read."""
    return recognise(request, destination).read_request(request, destination)


def family_of(api: str) -> Family:
    """The family whose ``api`` this is; the unknown-text family for a name nobody has."""
    return _BY_API.get(api, FAMILIES[-1])
