"""Who may ask: hosts, tokens, the page's cookie, and requests made by other sites."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from stream_infer import config
from stream_infer.errors import ConfigError
from stream_infer.ops.service.guard import host_name, is_same_site
from tests.ops.service.page_kit import BAD, ask, served, settings

TOKEN = "a-token-of-the-tests-0123456789"
EVERY: tuple[str, ...] = ("/", "/metrics", "/events", "/api/docs", "/api/openapi.json", "/static/page.js")
EVERY += tuple(f"/api/v1/{name}" for name in ("status", "doctor", "events", "where?name=x", "splits", "rejects"))
REPLAY = b'{"records": ["kafka://c/tickets/0/7"]}'
JSON = "application/json"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(settings(tmp_path_factory.mktemp("open"))) as url:
        yield url


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(settings(tmp_path_factory.mktemp("locked"), token=TOKEN, hosts=["tickets.example"])) as url:
        yield url


def test_a_service_that_others_can_reach_needs_a_token(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "::", "10.0.0.1", "tickets.example"):
        with pytest.raises(ConfigError, match=r"serve: host .* add token: \$\{NAME\}"):
            settings(tmp_path, host=host)
        assert not settings(tmp_path, host=host, token=TOKEN).serve.local  # type: ignore[union-attr]
    for host in ("127.0.0.1", "127.1.2.3", "::1", "localhost"):
        assert settings(tmp_path, host=host).serve.local  # type: ignore[union-attr]


def test_a_token_is_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATUS_TOKEN", TOKEN)
    chosen = settings(tmp_path, token="${STATUS_TOKEN}")
    assert chosen.serve is not None
    assert chosen.serve.token == TOKEN
    assert TOKEN not in repr(chosen)
    with pytest.raises(ConfigError) as caught:
        settings(tmp_path, token="short")
    assert "short" not in str(caught.value).replace("shorter", "").replace("too short", "")


@pytest.mark.parametrize("path", EVERY)
def test_nothing_but_the_probes_is_told_without_the_token(locked: str, path: str) -> None:
    assert ask(locked + path).status == 401
    assert ask(locked + path, Authorization="Bearer wrong").status == 401
    assert ask(locked + path, Authorization=TOKEN).status == 401
    assert ask(locked + path, Cookie="stream-infer-tickets=wrong").status == 401


def test_the_probes_stay_open(locked: str) -> None:
    assert ask(f"{locked}/healthz", Host="10.1.2.3:8000").status == 200
    assert ask(f"{locked}/readyz", Host="any.name").status == 503
    assert ask(f"{locked}/healthz", "POST", b"").status in (401, 403)


def test_the_token_opens(locked: str) -> None:
    for path in ("/", "/metrics", "/api/v1/status", "/api/v1/doctor", "/api/docs"):
        assert ask(locked + path, Authorization=f"Bearer {TOKEN}").status == 200


def test_a_browser_is_led_to_the_form_and_comes_back_with_a_cookie(locked: str) -> None:
    led = ask(f"{locked}/", Accept="text/html")
    assert (led.status, led.headers["location"]) == (303, "/login")
    assert "password" in ask(f"{locked}/login").text
    wrong = ask(f"{locked}/login", "POST", b"token=wrong", Origin=locked)
    assert (wrong.status, "not the token" in wrong.text) == (401, True)
    right = ask(f"{locked}/login", "POST", f"token={TOKEN}".encode(), Origin=locked)
    cookie = right.headers["set-cookie"]
    assert right.status == 303
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert TOKEN not in cookie
    assert ask(f"{locked}/", Cookie=cookie.partition(";")[0]).status == 200


def test_a_name_that_strangers_dns_points_here_is_not_served(url: str, locked: str) -> None:
    port = urlsplit(url).port
    for host in ("evil.example", f"evil.example:{port}", "", "localhost.evil.example", "127.0.0.1.evil.example"):
        assert ask(f"{url}/api/v1/status", Host=host).status == 421
    for host in ("localhost", f"127.0.0.1:{port}", f"[::1]:{port}", "a.localhost", "192.168.7.7"):
        assert ask(f"{url}/api/v1/status", Host=host).status == 200
    assert ask(f"{locked}/login", Host="tickets.example:80").status == 200
    assert ask(f"{locked}/login", Host="evil.example").status == 421
    # no stranger's page has the token: a scraper that brings it may ask by any name
    assert ask(f"{locked}/metrics", Host="stream-infer:8000", Authorization=f"Bearer {TOKEN}").status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://evil.example", "X_Stream_Infer": "1"},
        {"Origin": "null", "X_Stream_Infer": "1"},
        {"Sec_Fetch_Site": "cross-site", "X_Stream_Infer": "1"},
        {"Sec_Fetch_Site": "same-site", "X_Stream_Infer": "1"},
    ],
)
def test_another_site_cannot_replay(url: str, headers: dict[str, str]) -> None:
    answer = ask(f"{url}/api/v1/rejects/replay", "POST", REPLAY, Content_Type=JSON, **headers)
    assert answer.status == 403
    assert "header x-stream-infer" in answer.json["error"]
    assert ask(f"{url}/api/v1/rejects/show?record={BAD}").json[0]["state"] == "open"


def test_a_cookie_alone_is_no_word_of_ours(locked: str) -> None:
    cookie = ask(f"{locked}/login", "POST", f"token={TOKEN}".encode(), Origin=locked).headers["set-cookie"]
    given = {"Cookie": cookie.partition(";")[0], "Content_Type": JSON}
    path = f"{locked}/api/v1/rejects/replay"
    assert ask(path, "POST", b"{}", Sec_Fetch_Site="cross-site", **given).status == 403
    assert ask(path, "POST", b'{"records": ["none"]}', X_Stream_Infer="1", Origin=locked, **given).status == 202
    assert ask(path, "POST", b'{"records": ["none"]}', Authorization=f"Bearer {TOKEN}", **given).status == 202


def test_a_page_may_load_nothing_from_elsewhere_and_stand_in_no_frame(url: str) -> None:
    policy = ask(f"{url}/").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


def test_no_figure_is_kept_by_the_browser(url: str) -> None:
    for path in ("/", "/metrics", "/api/v1/status", "/login"):
        assert ask(url + path).headers["cache-control"] == "no-store"
    assert "cache-control" not in ask(f"{url}/static/page.css").headers


def test_no_credential_reaches_page_or_api(url: str) -> None:
    for path in ("/", "/api/v1/status", "/api/v1/doctor", "/metrics", "/api/openapi.json"):
        assert "s3cr3t" not in ask(url + path).text
    assert "s3://in/docs/" in ask(f"{url}/").text


def test_host_names() -> None:
    cases = {"a:80": "a", "A": "a", "[::1]:80": "::1", "[::1]": "::1", "1.2.3.4:5": "1.2.3.4", "": "", "::1": "::1"}
    assert {header: host_name(header) for header in cases} == cases
    assert not is_same_site({"host": "a", "origin": "http://b", "x-stream-infer": "1"}, "/x")
    assert is_same_site({"host": "a", "origin": "http://a"}, "/login")
    assert not is_same_site({"host": "a"}, "/login")


def test_every_setting_of_serve_is_in_the_schema() -> None:
    assert {"host", "port", "token", "hosts"} <= set(config.Serve.model_json_schema()["properties"])
