"""A server with the names the official conformance suite calls, on the Python SDK.

What each tool has to do is written in the suite's own scenario descriptions. Plain data and
short functions: the suite judges the SDK and the path to it, not this file.
"""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.prompts.base import UserMessage
from mcp.server.streamable_http import EventMessage, EventStore
from mcp.types import (
    AudioContent,
    Completion,
    EmbeddedResource,
    EmptyResult,
    ImageContent,
    InputRequiredResult,
    SamplingMessage,
    SetLevelRequestParams,
    SubscribeRequestParams,
    TextContent,
    TextResourceContents,
    UnsubscribeRequestParams,
)
from pydantic import BaseModel, Field

from mcp import MCPError

PAUSE_SECONDS = 0.05
PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9"
    "awAAAABJRU5ErkJggg=="
)
WAV = base64.b64encode(
    b"RIFF$\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0@\x1f\0\0\x80>\0\0\2\0\x10\0data"
).decode()
# A tool nobody may call: the policy of the run hides it, and the suite never asks for it.
HIDDEN = "delete_everything"


class Events(EventStore):
    """Events by their number, for clients that come back with Last-Event-ID."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []

    async def store_event(self, stream_id: str, message: Any) -> str:
        self.events.append((stream_id, message))
        return str(len(self.events))

    async def replay_events_after(self, last_event_id: str, send_callback: Any) -> str | None:
        last = int(last_event_id) if last_event_id.isdecimal() else 0
        if not 1 <= last <= len(self.events):
            return None
        stream = self.events[last - 1][0]
        for number, (of, message) in enumerate(self.events[last:], last + 1):
            if of == stream and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream


class Answer(BaseModel):
    """One free text."""

    response: str = Field(description="What to answer")


class Defaults(BaseModel):
    """A default for every primitive type."""

    name: str = "John Doe"
    age: int = 30
    score: float = 95.5
    status: str = Field("active", json_schema_extra={"enum": ["active", "inactive", "pending"]})
    verified: bool = True


ONE = [{"const": "value1", "title": "First"}, {"const": "value2", "title": "Second"}]
NAMES = ["option1", "option2"]


class Choices(BaseModel):
    """The five ways to say an enumeration."""

    untitledSingle: str = Field(json_schema_extra={"enum": NAMES})
    titledSingle: str = Field(json_schema_extra={"oneOf": ONE})
    untitledMulti: list[str] = Field(json_schema_extra={"items": {"type": "string", "enum": NAMES}})
    titledMulti: list[str] = Field(json_schema_extra={"items": {"anyOf": ONE}})
    legacyEnum: str = Field(
        json_schema_extra={"enum": ["opt1", "opt2"], "enumNames": ["Option One", "Option Two"]}
    )


def embedded(uri: str, text: str, mime_type: str = "text/plain") -> EmbeddedResource:
    contents = TextResourceContents(uri=uri, mime_type=mime_type, text=text)
    return EmbeddedResource(type="resource", resource=contents)


def text(words: str) -> TextContent:
    return TextContent(type="text", text=words)


def form(message: str, **properties: str) -> dict[str, Any]:
    """An elicitation with one member for each of ``properties`` (name: JSON type)."""
    schema = {
        "type": "object",
        "properties": {name: {"type": kind} for name, kind in properties.items()},
        "required": list(properties),
    }
    return {
        "method": "elicitation/create",
        "params": {"mode": "form", "message": message, "requestedSchema": schema},
    }


def sampling(question: str) -> dict[str, Any]:
    turn = {"role": "user", "content": {"type": "text", "text": question}}
    return {
        "method": "sampling/createMessage",
        "params": {"messages": [turn], "maxTokens": 100},
    }


ROOTS = {"method": "roots/list", "params": {}}


def ask(state: str | None = None, **requests: dict[str, Any]) -> InputRequiredResult:
    return InputRequiredResult.model_validate(
        {"resultType": "input_required", "inputRequests": requests, "requestState": state}
    )


def given(context: Context, *names: str) -> dict[str, Any] | None:
    """The client's answers under ``names`` as JSON; None while one is missing."""
    answers = context.input_responses or {}
    if any(name not in answers for name in names):
        return None
    return {name: answers[name].model_dump(by_alias=True, mode="json") for name in names}


def accepted(answer: Any, member: str) -> Any:
    content = answer.get("content") or {}
    return content.get(member) if answer.get("action") == "accept" else None


def make() -> MCPServer:
    """The whole server."""
    server = MCPServer("conformance-fixture", version="1", instructions="Call what is named.")
    add_contents(server)
    add_talk(server)
    add_rounds(server)
    add_changes(server)
    add_resources(server)
    add_prompts(server)
    add_old_requests(server)
    return server


def add_contents(server: MCPServer) -> None:
    @server.tool()
    def test_simple_text() -> str:
        """A text."""
        return "This is a simple text response for testing."

    @server.tool()
    def test_image_content() -> list[ImageContent]:
        """An image."""
        return [ImageContent(type="image", data=PNG, mime_type="image/png")]

    @server.tool()
    def test_audio_content() -> list[AudioContent]:
        """A sound."""
        return [AudioContent(type="audio", data=WAV, mime_type="audio/wav")]

    @server.tool()
    def test_embedded_resource() -> list[EmbeddedResource]:
        """A resource inside the result."""
        return [embedded("test://embedded-resource", "This is an embedded resource content.")]

    @server.tool()
    def test_multiple_content_types() -> list[TextContent | ImageContent | EmbeddedResource]:
        """Text, image and resource together."""
        return [
            text("Multiple content types test:"),
            ImageContent(type="image", data=PNG, mime_type="image/png"),
            embedded("test://mixed-content-resource", '{"test":"data"}', "application/json"),
        ]

    @server.tool()
    def test_error_handling() -> str:
        """Always fails."""
        raise RuntimeError("This tool intentionally returns an error for testing")

    @server.tool()
    def delete_everything(name: str) -> str:
        """Hidden by the policy of the governed run."""
        return f"{name} is gone"


def add_talk(server: MCPServer) -> None:
    """Tools that speak to the client while they run."""

    @server.tool()
    async def test_tool_with_logging(context: Context) -> str:
        """Three lines of log."""
        for line in ("Tool execution started", "Tool processing data", "Tool execution completed"):
            await context.info(line)
            await asyncio.sleep(PAUSE_SECONDS)
        return "logged"

    @server.tool()
    async def test_tool_with_progress(context: Context) -> str:
        """Three steps of progress."""
        for step in (0, 50, 100):
            await context.report_progress(step, 100)
            await asyncio.sleep(PAUSE_SECONDS)
        return "done"

    @server.tool()
    async def test_sampling(prompt: str, context: Context) -> str:
        """Lets the client's model answer."""
        turn = SamplingMessage(role="user", content=text(prompt))
        result = await context.session.create_message(messages=[turn], max_tokens=100)
        return f"LLM response: {getattr(result.content, 'text', '')}"

    @server.tool()
    async def test_elicitation(message: str, context: Context) -> str:
        """Asks the person a question."""
        return await asked(context, message, Answer, "User response")

    @server.tool()
    async def test_elicitation_sep1034_defaults(context: Context) -> str:
        """Asks with defaults."""
        return await asked(context, "Who are you?", Defaults, "Elicitation completed")

    @server.tool()
    async def test_elicitation_sep1330_enums(context: Context) -> str:
        """Asks with enumerations."""
        return await asked(context, "Choose", Choices, "Elicitation completed")

    @server.tool()
    async def test_reconnection(context: Context) -> str:
        """Ends its own stream, so that the client has to come back."""
        await context.close_sse_stream()
        await asyncio.sleep(4 * PAUSE_SECONDS)
        return "Reconnection test completed"

    async def asked(context: Context, message: str, schema: Any, done: str) -> str:
        result = await context.elicit(message=message, schema=schema)
        content = result.data.model_dump_json() if result.action == "accept" else "{}"
        return f"{done}: action={result.action}, content={content}"


def add_old_requests(server: MCPServer) -> None:
    """What only the session era has, and the high-level server does not offer."""

    async def nothing(context: Any, parameters: Any) -> EmptyResult:
        return EmptyResult()

    low = server._lowlevel_server
    low.add_request_handler("logging/setLevel", SetLevelRequestParams, nothing)
    low.add_request_handler("resources/subscribe", SubscribeRequestParams, nothing)
    low.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, nothing)


def add_changes(server: MCPServer) -> None:
    """Tools that change what the server offers, or need what the client must have."""

    @server.tool()
    async def test_trigger_tool_change(context: Context) -> str:
        """The tool list changes."""
        await context.notify_tools_changed()
        return "changed"

    @server.tool()
    async def test_trigger_prompt_change(context: Context) -> str:
        """The prompt list changes."""
        await context.notify_prompts_changed()
        return "changed"

    @server.tool()
    def test_missing_capability(context: Context) -> str | InputRequiredResult:
        """Needs a client that can sample."""
        can = context.client_capabilities
        if can is None or can.sampling is None:
            needed = {"requiredCapabilities": {"sampling": {}}}
            raise MCPError(-32021, "Missing required client capability", needed)
        return ask(greeting=sampling("Generate a greeting"))


def add_rounds(server: MCPServer) -> None:
    """Tools that need several rounds (2026-07-28)."""
    who = form("What is your name?", name="string")

    @server.tool()
    def test_input_required_result_elicitation(context: Context) -> str | InputRequiredResult:
        """One question."""
        answers = given(context, "user_name")
        name = accepted(answers["user_name"], "name") if answers else None
        return f"Hello, {name}!" if isinstance(name, str) else ask(user_name=who)

    @server.tool()
    def test_input_required_result_sampling(context: Context) -> str | InputRequiredResult:
        """One question to the model."""
        answers = given(context, "capital_question")
        if answers is None:
            return ask(capital_question=sampling("What is the capital of France?"))
        return json.dumps(answers["capital_question"]["content"])

    @server.tool()
    def test_input_required_result_list_roots(context: Context) -> str | InputRequiredResult:
        """The client's roots."""
        answers = given(context, "client_roots")
        return ask(client_roots=ROOTS) if answers is None else json.dumps(answers["client_roots"])

    @server.tool()
    def test_input_required_result_request_state(context: Context) -> str | InputRequiredResult:
        """A question that travels with a state."""
        if given(context, "confirm") and context.request_state == "confirming":
            return "state-ok"
        return ask("confirming", confirm=form("Please confirm", ok="boolean"))

    @server.tool()
    def test_input_required_result_tampered_state(context: Context) -> str | InputRequiredResult:
        """The same; the SDK seals the state."""
        if given(context, "confirm") and context.request_state == "sealed":
            return "state-ok"
        return ask("sealed", confirm=form("Please confirm", ok="boolean"))

    @server.tool()
    def test_input_required_result_multiple_inputs(context: Context) -> str | InputRequiredResult:
        """Three questions at once."""
        if given(context, "user_name", "greeting", "client_roots"):
            return "all three answered"
        greeting = sampling("Generate a greeting")
        return ask("three", user_name=who, greeting=greeting, client_roots=ROOTS)

    @server.tool()
    def test_input_required_result_multi_round(context: Context) -> str | InputRequiredResult:
        """Two questions, one after the other."""
        if given(context, "step1") and context.request_state == "one":
            return ask("two", step2=form("Step 2: What is your favorite color?", color="string"))
        if given(context, "step2") and context.request_state == "two":
            return "both answered"
        return ask("one", step1=form("Step 1: What is your name?", name="string"))

    @server.tool()
    def test_input_required_result_capabilities(context: Context) -> str | InputRequiredResult:
        """Asks only for what the client can do."""
        can = context.client_capabilities
        if context.input_responses:
            return "answered"
        if can is not None and can.sampling is not None:
            return ask(greeting=sampling("Generate a greeting"))
        return ask(user_name=who) if can is not None and can.elicitation is not None else "nothing"

    @server.prompt()
    def test_input_required_result_prompt(context: Context) -> Any:
        """A prompt that asks first."""
        answers = given(context, "user_context")
        if answers is None:
            return ask(user_context=form("What context should the prompt use?", context="string"))
        return [UserMessage(content=text(f"Use {accepted(answers['user_context'], 'context')}"))]


def add_resources(server: MCPServer) -> None:
    @server.resource("test://static-text", mime_type="text/plain")
    def static_text() -> str:
        """A text."""
        return "This is the content of the static text resource."

    @server.resource("test://static-binary", mime_type="image/png")
    def static_binary() -> bytes:
        """An image."""
        return base64.b64decode(PNG)

    @server.resource("test://template/{id}/data", mime_type="application/json")
    def template(id: str) -> str:
        """One of many."""
        return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})

    @server.resource("test://watched-resource")
    def watched() -> str:
        """One to subscribe to."""
        return "Watched"


def add_prompts(server: MCPServer) -> None:
    @server.prompt()
    def test_simple_prompt() -> list[UserMessage]:
        """Without arguments."""
        return [UserMessage(content=text("This is a simple prompt for testing."))]

    @server.prompt()
    def test_prompt_with_arguments(arg1: str, arg2: str) -> list[UserMessage]:
        """With arguments."""
        return [UserMessage(content=text(f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"))]

    @server.prompt()
    def test_prompt_with_embedded_resource(resourceUri: str) -> list[UserMessage]:
        """With a resource."""
        return [
            UserMessage(content=embedded(resourceUri, "Embedded resource content for testing.")),
            UserMessage(content=text("Please process the embedded resource above.")),
        ]

    @server.prompt()
    def test_prompt_with_image() -> list[UserMessage]:
        """With an image."""
        return [
            UserMessage(content=ImageContent(type="image", data=PNG, mime_type="image/png")),
            UserMessage(content=text("Please analyze the image above.")),
        ]

    @server.completion()
    async def complete(reference: Any, argument: Any, context: Any) -> Completion:
        return Completion(values=[], total=0, has_more=False)


def application() -> Any:
    """The server as an ASGI application under ``/mcp``."""
    return make().streamable_http_app(event_store=Events(), retry_interval=500)
