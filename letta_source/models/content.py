"""What a message says: text, images, and the other parts of its content."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Discriminator, Field, Tag

from .base import JsonObject, Unknown, Wire, pick


class UrlImage(Wire):
    type: Literal["url"] = Field(description="An image elsewhere; it was seen to make its whole page fail.")
    url: str = Field(description="Its address.")


class Base64Image(Wire):
    type: Literal["base64"] = Field(description="An image inside the message.")
    media_type: str = Field(description="MIME type.")
    data: str = Field(description="The image in base64, easily hundreds of kB.")
    detail: str | None = Field(None, description="How closely the model looks: low, high, auto.")


class LettaImage(Wire):
    type: Literal["letta"] = Field(description="An image Letta stores: the only kind seen in lists.")
    file_id: str = Field(description="The stored file.")
    media_type: str | None = Field(None, description="MIME type.")
    data: str | None = Field(None, description="The image in base64; lists send it along.")
    detail: str | None = Field(None, description="How closely the model looks: low, high, auto.")


_KnownImage: TypeAlias = (
    Annotated[UrlImage, Tag("url")]
    | Annotated[Base64Image, Tag("base64")]
    | Annotated[LettaImage, Tag("letta")]
)
ImageSource: TypeAlias = Annotated[
    _KnownImage | Annotated[Unknown, Tag("unknown")], pick("type", _KnownImage)
]


class TextContent(Wire):
    type: Literal["text"] = Field(description="Text.")
    text: str = Field(description="The text.")
    signature: str | None = Field(None, description="The provider's seal on the reasoning behind it.")


class ImageContent(Wire):
    type: Literal["image"] = Field(description="An image.")
    source: ImageSource = Field(description="Where it is.")


class ToolCallContent(Wire):
    type: Literal["tool_call"] = Field(description="A tool call (Gemini), which `tool_calls` has too.")
    id: str = Field(description="The call's id.")
    name: str = Field(description="The tool.")
    input: JsonObject = Field(description="The arguments as an object; everywhere else they are JSON text.")
    signature: str | None = Field(None, description="The provider's seal on the reasoning behind it.")


class ToolReturnContent(Wire):
    type: Literal["tool_return"] = Field(description="A tool's result as content.")
    tool_call_id: str = Field(description="The call it answers.")
    content: str = Field(description="The result.")
    is_error: bool = Field(description="Whether the tool failed.")


class ReasoningContent(Wire):
    type: Literal["reasoning"] = Field(description="Readable reasoning.")
    is_native: bool = Field(description="True from a reasoning model, false from prompting.")
    reasoning: str = Field(description="The reasoning.")
    signature: str | None = Field(None, description="The provider's seal on it.")


class RedactedReasoningContent(Wire):
    type: Literal["redacted_reasoning"] = Field(description="Reasoning that the provider made unreadable.")
    data: str = Field(description="The unreadable form.")


class OmittedReasoningContent(Wire):
    type: Literal["omitted_reasoning"] = Field(description="Reasoning that took place but was not sent.")
    signature: str | None = Field(None, description="The provider's seal on it.")


class SummaryPart(Wire):
    index: int = Field(description="Position, from 0.")
    text: str = Field(description="The text.")


class SummarizedReasoningContent(Wire):
    type: Literal["summarized_reasoning"] = Field(description="A summary of reasoning (OpenAI responses).")
    id: str = Field(description="The provider's id of the reasoning.")
    summary: list[SummaryPart] = Field(description="The summary.")
    encrypted_content: str | None = Field(None, description="The full reasoning, encrypted.")


_KnownContent: TypeAlias = (
    Annotated[TextContent, Tag("text")]
    | Annotated[ImageContent, Tag("image")]
    | Annotated[ToolCallContent, Tag("tool_call")]
    | Annotated[ToolReturnContent, Tag("tool_return")]
    | Annotated[ReasoningContent, Tag("reasoning")]
    | Annotated[RedactedReasoningContent, Tag("redacted_reasoning")]
    | Annotated[OmittedReasoningContent, Tag("omitted_reasoning")]
    | Annotated[SummarizedReasoningContent, Tag("summarized_reasoning")]
)
ContentPart: TypeAlias = Annotated[
    _KnownContent | Annotated[Unknown, Tag("unknown")], pick("type", _KnownContent)
]
# A string, or a list of parts. A single text part comes as a string.
Content: TypeAlias = Annotated[
    Annotated[str, Tag("string")] | Annotated[list[ContentPart], Tag("parts")],
    Discriminator(lambda value: "parts" if isinstance(value, list) else "string"),
]
