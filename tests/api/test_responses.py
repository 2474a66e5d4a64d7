"""The meaning of a response: only Letta's own counts, all others come from something in between."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx
import pytest

from letta_source.api.client import Client
from letta_source.api.redact import Redactor
from letta_source.api.responses import (
    RequestFailed,
    StatusError,
    Verdict,
    WebPage,
    WrongShape,
    detail_of,
    judge,
    smaller_page_may_help,
    to_error,
)
from letta_source.api.spool import Spool, read_list
from letta_source.errors import AuthError, NotLetta
from tests.support.wire import HOST, answering, client_of, get, one_by_one, settings

pytestmark = pytest.mark.usefixtures("waits")

AGENT = "agent-00000000-0000-4000-8000-000000000000"
MESSAGE = "message-00000000-0000-4000-8000-000000000000"


@pytest.mark.parametrize(
    ("status", "detail"),
    [
        (404, "Agent not found"),
        (404, f"No message found with id '{MESSAGE}' for agent '{AGENT}'."),
        (404, f"No Message found with id {MESSAGE}"),
        (404, "Group not found with id='['group-1']', access level in ['read'] for actor='id='user-1''"),
        (404, "Run not found with id='['run-1']', access level in ['read']"),
        (404, "Conversation with id conv-1 not found"),
        (404, "No Step found with id step-1"),
        (404, f"Agent with ID {AGENT} not found"),
        (404, f"Agent not found with identifier {AGENT}"),
        (404, f"Message with id {MESSAGE} not found."),
        (404, "Run run-1 not found."),
        (404, "No batch found for id batch-1"),
        (400, "Job with id job-1 not found"),
    ],
)
def test_not_found_from_letta_means_gone(status: int, detail: str) -> None:
    assert judge(status, {"detail": detail}) is Verdict.GONE


@pytest.mark.parametrize(
    "said",
    [
        None,
        "default backend - 404",
        {"message": "no Route matched with those values"},
        {"message": "Agent not found"},
        {"statusCode": 404, "message": "Resource not found"},
        {"error": "Not Found", "path": "/v1/agents/", "status": 404},
        {"title": "Not Found", "detail": "No upstream found for this agent", "status": 404},
        {"detail": "Host not found"},
        {"detail": "Job queue not found"},
        {"detail": "Run controller: upstream service not found"},
        {"detail": "Message broker was not found"},
        {"detail": "Agent not found in the pool of this gateway"},
        {"detail": "No agent found that could take the request"},
        {"detail": "Steps of this route: backend not found"},
        {"detail": ["Agent not found"]},
        {"detail": "Not found."},
        [],
    ],
    ids=str,
)
def test_not_found_from_anything_else_is_transient(said: Any) -> None:
    assert judge(404, said) is Verdict.PASSING


@pytest.mark.parametrize("status", [400, 402, 409, 410, 413, 418, 421, 422, 431, 451, 499, 501])
def test_json_without_a_detail_comes_from_a_gateway(status: int) -> None:
    error = {"code": status, "message": "no"}
    answers: list[dict[str, object]] = [{"message": "no"}, {"error": error}, {"errors": []}, {}]
    for said in answers:
        assert judge(status, said) is Verdict.PASSING
    assert judge(status, {"detail": "No."}) is Verdict.ERROR


@pytest.mark.parametrize("status", [500, 502, 503, 504, *range(520, 531), 598, 599])
def test_all_5xx_are_transient(status: int) -> None:
    foreign = httpx.Response(status, text=f"error code: {status}", headers={"server": "cloudflare"})
    with answering(one_by_one([foreign, foreign, httpx.Response(200, json=[])])):
        assert get() == []
    assert judge(status, {"detail": "Agent not found"}) is Verdict.PASSING


FOREIGN = [
    httpx.Response(404, text="default backend - 404"),
    httpx.Response(404, html="<h1>404 Not Found</h1><hr>nginx"),
    httpx.Response(404, json={"message": "no Route matched with those values"}),
    httpx.Response(404, json={"detail": "Not Found"}),
    httpx.Response(405, html="<h1>405 Not Allowed</h1>"),
    httpx.Response(405, headers={"x-amzn-waf-action": "captcha"}),
    httpx.Response(403, html="<title>Just a moment...</title>", headers={"cf-mitigated": "challenge"}),
    httpx.Response(403, json={"message": "Forbidden"}),
    httpx.Response(403, json={"error": "Forbidden", "status": 403, "path": "/v1/agents/"}),
    httpx.Response(403, json={"title": "Forbidden", "status": 403, "detail": "You may not pass."}),
    httpx.Response(403, json="RBAC: access denied"),
    httpx.Response(401, json={"message": "Unauthorized"}),
    httpx.Response(401, text="upstream asks again"),
    httpx.Response(302, headers={"location": "/login"}),
    httpx.Response(303, headers={"location": "https://sso.corp.test/authorize"}),
    httpx.Response(307, headers={"location": "https://status.corp.test/maintenance"}),
    httpx.Response(400, html="<h1>400 Bad Request</h1>"),
    httpx.Response(421),
    httpx.Response(200, json={"error": "upstream timed out"}),
    httpx.Response(200, json={"message": "Endpoint request timed out"}),
    httpx.Response(200, json="upstream timed out"),
    httpx.Response(200, content=b""),
    httpx.Response(202, content=b"", headers={"x-amzn-waf-action": "challenge"}),
    httpx.Response(204),
    httpx.Response(202, json={"status": "pending"}),
    httpx.Response(202, json={"detail": "starting"}),
    httpx.Response(205, json=[]),
    httpx.Response(206, json=[], headers={"content-range": "bytes 0-1/3000"}),
    httpx.Response(207, json=[]),
    httpx.Response(226, json=[]),
    httpx.Response(300, json=[]),
    httpx.Response(304),
    httpx.Response(305, headers={"location": "http://proxy.corp.test"}),
]


@pytest.mark.parametrize("foreign", FOREIGN, ids=lambda answer: f"{answer.status_code} {answer.text[:30]}")
def test_gateway_errors_are_transient(foreign: httpx.Response) -> None:
    answers = [httpx.Response(200, json=[1]), foreign, foreign, httpx.Response(200, json=[2])]
    with client_of(one_by_one(answers)) as get:
        assert get("/v1/agents/", shape="list") == [1]
        assert get("/v1/agents/agent-1/messages", shape="list") == [2]


@pytest.mark.parametrize("foreign", FOREIGN, ids=lambda answer: f"{answer.status_code} {answer.text[:30]}")
def test_lasting_gateway_errors_are_named_and_nothing_counts_as_gone(foreign: httpx.Response) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=[]) if request.url.path == "/v1/agents/" else foreign

    with client_of(answer) as get:
        get("/v1/agents/", shape="list")
        with pytest.raises(RequestFailed) as caught:
            get("/v1/agents/agent-1/messages", shape="list")
    assert not isinstance(caught.value, StatusError) or caught.value.verdict is Verdict.PASSING
    assert str(caught.value)


def test_a_203_from_a_rewriting_proxy_is_a_success() -> None:
    """So is an empty one: each list ends with it, also behind such a proxy."""
    with client_of(one_by_one([httpx.Response(203, json=[1]), httpx.Response(203, json=[])])) as get:
        assert get("/v1/agents/", shape="list") == [1]
        assert get("/v1/agents/", shape="list") == []


@pytest.mark.parametrize("status", [202, 204, 206])
def test_a_partial_response_is_not_read_as_a_stream(status: int) -> None:
    answers = [httpx.Response(status, json={"messages": []}), httpx.Response(200, json={"messages": [{}]})]

    async def main() -> int:
        async with Client(settings(retries=2), looks_again=False) as client:
            read = partial(read_list, key="messages", memory=client.server.memory)
            found: Spool = await client.get("/v1/messages/batches/batch-1/messages", read=read)
            found.close()
            return len(found)

    with answering(one_by_one(answers)):
        assert asyncio.run(main()) == 1


def test_an_object_must_have_the_requested_id() -> None:
    answers: list[Any] = [
        {"error": "upstream timed out"},
        [],
        None,
        # Gateways give their errors ids.
        {"id": "req_8f2", "error": {"message": "overloaded"}},
        {"id": 7, "status": "error"},
        {"id": "run-1", "status": "running"},
    ]
    with client_of(one_by_one([httpx.Response(200, json=body) for body in answers])) as get:
        assert get("/v1/runs/run-1", shape="object")["status"] == "running"
    with (
        client_of(lambda _: httpx.Response(200, json={"error": "no"})) as get,
        pytest.raises(WrongShape, match="expected a JSON object, got dict"),
    ):
        get("/v1/runs/run-1", shape="object")


@pytest.mark.parametrize("status", [401, 403])
def test_after_a_success_a_refusal_concerns_only_that_request(status: int) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/groups/":
            return httpx.Response(status, json={"detail": "Groups are not part of your plan"})
        return httpx.Response(200, json=[])

    with client_of(answer) as get:
        with pytest.raises(AuthError, match=r"refuses the key.*not part of your plan"):
            get("/v1/groups/")
        get("/v1/agents/")
        with pytest.raises(
            StatusError, match=f"^{status}: the key may not read this: Groups are not"
        ) as caught:
            get("/v1/groups/")
    assert caught.value.verdict is Verdict.REFUSED


@pytest.mark.parametrize(
    ("host", "said", "blames"),
    [
        ("letta.test", {"detail": "Invalid key"}, True),
        ("letta.test", {"trace_id": "", "detail": "Invalid key"}, True),
        ("letta.test", {"message": "Unauthorized"}, False),
        ("letta.test", "Unauthorized", False),
        # From Letta Cloud, any form counts.
        ("api.letta.com", {"message": "Unauthorized"}, True),
        ("api.letta.com", {"error": "Unauthorized"}, True),
        ("letta.com.corp.test", {"error": "Unauthorized"}, False),
    ],
)
def test_only_a_refusal_by_letta_blames_the_key(host: str, said: Any, blames: bool) -> None:
    with (
        answering(lambda _: httpx.Response(401, json=said)),
        pytest.raises(AuthError) as caught,
    ):
        get(f"https://{host}", retries=1, proxy="none", api_key="sk-let-0123456789")
    assert ("LETTA_API_KEY" in str(caught.value)) is blames
    assert ("a gateway or proxy in front refuses" in str(caught.value)) is not blames


def test_redirect_targets_are_redacted() -> None:
    key = "sk-let-0123456789abcdef"
    for where in (f"https://{key}.corp.test/login", f"https://{key}.corp.test/x"):
        with answering(one_by_one([to(where)])), pytest.raises((AuthError, NotLetta)) as caught:
            get(api_key=key)
        assert key not in str(caught.value)
        assert "***" in str(caught.value)


CLOUDFLARE = httpx.Response(
    403, html="<title>Just a moment...</title>", headers={"cf-mitigated": "challenge"}
)


def to(where: str) -> httpx.Response:
    return httpx.Response(302, headers={"location": where})


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (CLOUDFLARE, AuthError, "a challenge of Cloudflare for browsers.*`headers`"),
        (httpx.Response(403, headers={"x-amzn-waf-action": "captcha"}), AuthError, "a challenge of AWS WAF"),
        (httpx.Response(403, html="<script src=/cdn-cgi/challenge-platform/>"), AuthError, "a challenge for"),
        (
            httpx.Response(403, html="Forbidden", headers={"server": "nginx"}),
            AuthError,
            "that of nginx.*gateway",
        ),
        (httpx.Response(403, json={"message": "Forbidden"}), AuthError, "Forbidden.*not Letta's.*`headers`"),
        (httpx.Response(401, text="no"), AuthError, "not Letta's own response: a gateway or proxy in front"),
        (httpx.Response(407, html="Squid"), AuthError, "the proxy asks for a user and password"),
        (to("/login?next=/v1"), AuthError, "a login at letta.test"),
        (to("https://sso.corp.test/x"), AuthError, "a login at sso.corp"),
        (to("https://corp.test/oauth2/authorize"), AuthError, "a login"),
        (to("https://www.corp.test/v1/"), NotLetta, "redirects to www.corp"),
        (httpx.Response(200, html="<input type='password'>"), WebPage, "answers with a login page"),
        (httpx.Response(200, html="<h1>Welcome</h1>"), WebPage, "answers with a web page"),
        # Without HTML, only the header field tells.
        (httpx.Response(200, json=[], headers={"cf-mitigated": "challenge"}), WebPage, "of Cloudflare"),
        (httpx.Response(200, json=[], headers={"x-amzn-waf-action": "challenge"}), WebPage, "of AWS WAF"),
        (
            httpx.Response(400, html="The plain HTTP request was sent to HTTPS port"),
            StatusError,
            "speaks https",
        ),
        (
            httpx.Response(400, text="Client sent an HTTP request to an HTTPS server."),
            StatusError,
            "https://",
        ),
    ],
    ids=lambda one: getattr(one, "text", None),
)
def test_a_refusal_says_who_refuses_and_what_to_do(
    answer: httpx.Response, error: type[Exception], said: str
) -> None:
    with answering(lambda _: answer), pytest.raises(error, match=said) as caught:
        get(retries=1)
    assert "refuses the key" not in str(caught.value)


def pages() -> Iterator[httpx.Response]:
    yield httpx.Response(307, headers={"location": f"{HOST}/v1/groups"})
    yield httpx.Response(200, json=["group"])


def test_behind_a_tls_proxy_redirects_stay_https() -> None:
    """The server sees plain http and redirects to it, which would send the key unencrypted."""
    with answering(one_by_one(pages())) as requests:
        assert get("https://letta.test", "/v1/groups/", api_key="sk-let-0123456789") == ["group"]
    assert [str(request.url) for request in requests] == [
        "https://letta.test/v1/groups/",
        "https://letta.test/v1/groups",
    ]


def test_a_redirect_loop_between_slash_variants_is_a_missing_family() -> None:
    """A route without a slash behind a proxy that adds one."""

    def answer(request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if path == "/v1/agents/":
            return httpx.Response(200, json=[])
        return httpx.Response(307, headers={"location": path[:-1] if path.endswith("/") else f"{path}/"})

    with client_of(answer) as get:
        with pytest.raises(NotLetta, match="circle"):
            get("/v1/groups/", may_lack=True)
        get("/v1/agents/")
        with pytest.raises(StatusError, match="circle") as caught:
            get("/v1/groups/", may_lack=True)
    assert caught.value.verdict is Verdict.NO_ROUTE


LIMITS = [
    (
        {
            "type": "less_than_equal",
            "loc": ["query", "limit"],
            "msg": "Input should be less than or equal to 100",
        },
        100,
    ),
    ("[{'loc': ('query', 'limit'), 'msg': 'Input should be between 1 and 250'}]", 250),
    ("limit must be at most 150", 150),
    ("limit too large", None),
    ("page_size exceeds the maximum of 50", 50),
    ("Limit: maximum is 10.", 10),
]


@pytest.mark.parametrize(("detail", "bound"), LIMITS, ids=str)
@pytest.mark.parametrize("status", [400, 422])
def test_a_page_limit_that_is_too_large(status: int, detail: Any, bound: int | None) -> None:
    detail = [detail] if isinstance(detail, dict) else detail
    with (
        answering(lambda _: httpx.Response(status, json={"detail": detail})),
        pytest.raises(StatusError) as caught,
    ):
        get()
    assert (caught.value.verdict, caught.value.page_limit) == (Verdict.PAGE_LIMIT, bound)


@pytest.mark.parametrize(
    "detail", ["String should match pattern 'agent-{uuid4}'", "image by URL", "no limit"]
)
def test_other_errors_are_not_about_the_page_limit(detail: str) -> None:
    assert judge(422, json.loads(json.dumps({"detail": detail}))) is Verdict.ERROR


@pytest.mark.parametrize(
    "body",
    [
        [{"id": "message-1", "content": "canary"}],
        {"data": [{"id": "message-1", "content": "canary"}]},
        {"partial": {"id": "message-1", "message_type": "user_message", "content": "canary"}},
        {"detail": [{"msg": "wrong", "sent": [{"id": "message-1", "content": "canary"}]}]},
    ],
)
def test_an_error_quotes_no_items(body: Any) -> None:
    """Messages that come with an odd status or in an odd shape may be masked elsewhere."""
    detail = detail_of(body, Redactor([]))
    assert "canary" not in detail
    assert detail_of({"errors": [{"message": "why"}], "id": 5}, Redactor([])).count("why") == 1


@pytest.mark.parametrize(
    ("status", "sent", "verdict"),
    [
        # Only with these statuses do the words count.
        (403, {"detail": "Agent not found"}, Verdict.REFUSED),
        (409, {"detail": "Agent not found"}, Verdict.ERROR),
        (422, {"detail": "limit must be at most 5"}, Verdict.PAGE_LIMIT),
        (409, {"detail": "limit must be at most 5"}, Verdict.ERROR),
        (402, {"reasons": ["anything"]}, Verdict.QUOTA),
        (429, {"reasons": [5, "rate-limit-exceeded", "agents-limit-exceeded"]}, Verdict.QUOTA),
        (429, {"reasons": ["anything", "rate-limit-exceeded"]}, Verdict.PASSING),
        (400, {"detail": "no", "reasons": ["credits"]}, Verdict.ERROR),
        (400, None, Verdict.PASSING),
        (404, None, Verdict.PASSING),
    ],
)
def test_words_count_with_their_status(status: int, sent: Any, verdict: Verdict) -> None:
    assert judge(status, sent) is verdict


def error_of(status: int, sent: Any, **headers: str) -> StatusError:
    request = httpx.Request("GET", f"{HOST}/v1/agents/")
    response = httpx.Response(status, json=sent, headers=headers, request=request)
    found = to_error(response, response.content)
    assert isinstance(found, StatusError)
    return found


def test_a_challenge_in_json_is_not_lettas() -> None:
    for sent in ({"detail": "Agent not found"}, {"detail": "no"}):
        error = error_of(404, sent, **{"cf-mitigated": "challenge"})
        assert (error.verdict, error.from_letta) == (Verdict.PASSING, False)
        assert "a challenge of Cloudflare" in error.detail
        assert error_of(404, {"detail": "Agent not found"}).verdict is Verdict.GONE


@pytest.mark.parametrize("sent", [{"message": "no"}, None], ids=["json", "no json"])
def test_a_gateway_that_refuses_is_told_once(sent: Any) -> None:
    assert error_of(403, sent).detail.count("headers that it requires") == 1
    assert error_of(404, sent).detail.count("headers that it requires") == 0


def test_only_a_refused_limit_tells_another() -> None:
    sent = {"detail": "limit must be at most 5"}
    found = {status: error_of(status, sent) for status in (400, 422, 500)}
    assert {status: error.page_limit for status, error in found.items()} == {400: 5, 422: 5, 500: None}
    assert all(map(smaller_page_may_help, found.values()))
    # A 400 of a gateway is not about the page.
    assert not smaller_page_may_help(error_of(400, {"message": "no"}))
    assert smaller_page_may_help(error_of(413, {"message": "no"}))
    assert not smaller_page_may_help(error_of(422, {"detail": "no"}))


def test_errors_in_lists_are_told_and_items_are_not() -> None:
    redact = Redactor(())
    assert detail_of({"detail": ["invalid", {"msg": "bad"}]}, redact) == "['invalid', {'msg': 'bad'}]"
    assert detail_of({"detail": ["text", {"id": "message-1", "text": "secret"}]}, redact) == "a list of 2"
