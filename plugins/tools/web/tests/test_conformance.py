"""The tools for the web keep what the contract of a tool promises; calls that work are tried on a web of tests."""

from __future__ import annotations

import pytest

from xagent_core.testing import ToolConformance, waive


class TestFetchUrl(ToolConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def tool(cls):
        return "fetch_url"

    @pytest.fixture(scope="class")
    @classmethod
    def failing_call(cls):
        return {"url": "http://127.0.0.1:9/"}


@waive("test_every_argument_is_described_and_bounded", reason="json_body is any JSON, within the limit of a request")
class TestHttpRequest(ToolConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def tool(cls):
        return "http_request"

    @pytest.fixture(scope="class")
    @classmethod
    def failing_call(cls):
        return {"url": "http://127.0.0.1:9/"}


class TestScrapePage(ToolConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def tool(cls):
        return "scrape_page"

    @pytest.fixture(scope="class")
    @classmethod
    def failing_call(cls):
        return {"url": "http://127.0.0.1:9/"}


class TestWebSearch(ToolConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def tool(cls):
        return "web_search"
