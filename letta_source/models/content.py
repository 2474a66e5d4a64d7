"""The content of a message: text, images, and its other parts."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Discriminator, Field, Tag

from .base import JsonObject, Unknown, Wire, pick
from .marks import CLEAR, COLUMNS, CONTENT, AsColumn

_SOURCE_TYPE = AsColumn(content=False, name="source_type")
_MediaType: TypeAlias = Annotated[str | None, CLEAR, Field(description="MIME type of an image.")]
_Detail: TypeAlias = Annotated[
    str | None, CLEAR, Field(description="Level of detail for an image: low, high or auto.")
]
Signature: TypeAlias = Annotated[
    str | None, CONTENT, Field(description="The provider's signature of the reasoning.")
]
# A tool's name comes from its developer, and which tools were called how often is not content.
ToolName: TypeAlias = Annotated[str | None, CLEAR, Field(description="The tool.")]


class UrlImage(Wire):
    """An image at a URL; one was seen to make its whole page fail."""

    type: Annotated[Literal["url"], _SOURCE_TYPE] = Field(description="Always `url`.")
    url: Annotated[str, CONTENT] = Field(description="Address of an image.")


class LettaImage(Wire):
    """An image that Letta stores: the only kind seen in lists."""

    type: Annotated[Literal["letta"], _SOURCE_TYPE] = Field(description="Always `letta`.")
    media_type: _MediaType = None
    file_id: Annotated[str, CLEAR] = Field(description="The file of an image that Letta stores.")
    data: Annotated[str | None, CONTENT] = Field(
        None, description="The image in base64, hundreds of kB; lists include it."
    )
    detail: _Detail = None


class Base64Image(Wire):
    """An image inside the message."""

    type: Annotated[Literal["base64"], _SOURCE_TYPE] = Field(description="Always `base64`.")
    media_type: Annotated[str, CLEAR] = Field(description="Its MIME type.")
    data: Annotated[str, CONTENT] = Field(description="The image in base64, easily hundreds of kB.")
    detail: _Detail = None


_KnownImage: TypeAlias = (
    Annotated[UrlImage, Tag("url")]
    | Annotated[LettaImage, Tag("letta")]
    | Annotated[Base64Image, Tag("base64")]
)
ImageSource: TypeAlias = Annotated[
    _KnownImage | Annotated[Unknown, Tag("unknown")], pick("type", _KnownImage)
]


class TextContent(Wire):
    """Text."""

    type: Annotated[Literal["text"], CLEAR] = Field(description="Always `text`.")
    text: Annotated[str, CONTENT] = Field(description="The text, or the result of a tool_return.")
    signature: Signature = None


class ReasoningContent(Wire):
    """Readable reasoning."""

    type: Annotated[Literal["reasoning"], CLEAR] = Field(description="Always `reasoning`.")
    reasoning: Annotated[str, CONTENT] = Field(description="The model's reasoning.")
    is_native: bool = Field(description="True if the reasoning is the model's own, not prompted.")
    signature: Signature = None


class RedactedReasoningContent(Wire):
    """Reasoning that the provider made unreadable."""

    type: Annotated[Literal["redacted_reasoning"], CLEAR] = Field(description="Always `redacted_reasoning`.")
    data: Annotated[str, CONTENT] = Field(description="An image in base64, or the redacted reasoning.")


class OmittedReasoningContent(Wire):
    """Reasoning that took place but was not sent."""

    type: Annotated[Literal["omitted_reasoning"], CLEAR] = Field(description="Always `omitted_reasoning`.")
    signature: Signature = None


class ImageContent(Wire):
    """An image."""

    type: Annotated[Literal["image"], CLEAR] = Field(description="Always `image`.")
    source: Annotated[ImageSource, COLUMNS] = Field(description="Location of the image.")


class ToolCallContent(Wire):
    """A tool call (Gemini), which is in `tool_calls`, too."""

    type: Annotated[Literal["tool_call"], CLEAR] = Field(description="Always `tool_call`.")
    id: Annotated[str, AsColumn(content=False, name="tool_call_id")] = Field(
        description="The call's id, for tool_call and tool_return."
    )
    name: Annotated[str, CLEAR] = Field(description="The tool of a tool_call.")
    input: Annotated[JsonObject, CONTENT] = Field(
        description="The arguments of a tool_call as an object; everywhere else they are JSON text."
    )
    signature: Signature = None


class ToolReturnContent(Wire):
    """A tool's result as content."""

    type: Annotated[Literal["tool_return"], CLEAR] = Field(description="Always `tool_return`.")
    tool_call_id: Annotated[str, CLEAR] = Field(description="The call that the part answers.")
    content: Annotated[str, AsColumn(content=True, name="text")] = Field(description="The result as text.")
    is_error: bool = Field(description="True if the tool of a tool_return failed.")


class SummaryPart(Wire):
    """A piece of a summary of reasoning."""

    index: int = Field(description="Position in the summary, from 0.")
    text: Annotated[str, CONTENT] = Field(description="The piece's text.")


class SummarizedReasoningContent(Wire):
    """A summary of reasoning (OpenAI responses)."""

    type: Annotated[Literal["summarized_reasoning"], CLEAR] = Field(
        description="Always `summarized_reasoning`."
    )
    id: Annotated[str, AsColumn(content=False, name="content_id")] = Field(
        description="The provider's id of summarized reasoning."
    )
    summary: Annotated[list[SummaryPart], CONTENT] = Field(description="The summary of the reasoning.")
    encrypted_content: Annotated[str | None, CONTENT] = Field(
        None, description="The full reasoning behind the summary, encrypted."
    )


# In the order of the columns that they fill.
_KnownContent: TypeAlias = (
    Annotated[TextContent, Tag("text")]
    | Annotated[ReasoningContent, Tag("reasoning")]
    | Annotated[RedactedReasoningContent, Tag("redacted_reasoning")]
    | Annotated[OmittedReasoningContent, Tag("omitted_reasoning")]
    | Annotated[ImageContent, Tag("image")]
    | Annotated[ToolCallContent, Tag("tool_call")]
    | Annotated[ToolReturnContent, Tag("tool_return")]
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
