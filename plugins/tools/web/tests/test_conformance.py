"""The tools for the web keep what the contract of a tool promises."""

from __future__ import annotations

import pytest

from xagent_core.testing import ToolConformance

NOT_PUBLIC = {"url": "http://127.0.0.1:9/"}


class TestFetchUrl(ToolConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def tool(cls):
        return "fetch_url"

    @pytest.fixture(scope="class")
    @classmethod
    def options(cls, lasting_site):
        return {"allow_networks": ["127.0.0.1/32"], "ports": [lasting_site.port]}

    @pytest.fixture(scope="class")
    @classmethod
    def call(cls, lasting_site):
        return {"url": lasting_site.url()}

    @pytest.fixture(scope="class")
    @classmethod
    def failing_call(cls):
        return NOT_PUBLIC


class TestHttpRequest(ToolConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def tool(cls):
        return "http_request"

    @pytest.fixture(scope="class")
    @classmethod
    def options(cls, lasting_site):
        return {"allow_networks": ["127.0.0.1/32"], "ports": [lasting_site.port], "methods": ["POST"]}

    @pytest.fixture(scope="class")
    @classmethod
    def call(cls, lasting_site):
        return {"url": lasting_site.url(), "method": "POST", "json_body": {"swim": True}}

    @pytest.fixture(scope="class")
    @classmethod
    def failing_call(cls):
        return NOT_PUBLIC


class TestScrapePage(ToolConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def tool(cls):
        return "scrape_page"

    @pytest.fixture(scope="class")
    @classmethod
    def options(cls, lasting_site):
        return {"allow_networks": ["127.0.0.1/32"], "ports": [lasting_site.port]}

    @pytest.fixture(scope="class")
    @classmethod
    def call(cls, lasting_site):
        return {"url": lasting_site.url()}

    @pytest.fixture(scope="class")
    @classmethod
    def failing_call(cls):
        return NOT_PUBLIC


class TestWebSearch(ToolConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def tool(cls):
        return "web_search"

    @pytest.fixture(scope="class")
    @classmethod
    def options(cls, lasting_site):
        return {"providers": ["searxng"], "searxng": {"url": lasting_site.url()}}

    @pytest.fixture(scope="class")
    @classmethod
    def call(cls):
        return {"query": "otters"}

    @pytest.fixture(scope="class")
    @classmethod
    def failing_call(cls):
        return {"query": "lost"}
