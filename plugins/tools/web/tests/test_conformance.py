"""The tools for the web keep what the contract of a tool promises."""

from __future__ import annotations

import pytest

from xagent_core.testing import ToolConformance, fixed

NOT_PUBLIC = {"url": "http://127.0.0.1:9/"}


class TestFetchUrl(ToolConformance):
    tool = fixed("fetch_url")
    failing_call = fixed(NOT_PUBLIC)

    @pytest.fixture(scope="class")
    @classmethod
    def options(cls, lasting_site):
        return {"allow_networks": ["127.0.0.1/32"], "ports": [lasting_site.port]}

    @pytest.fixture(scope="class")
    @classmethod
    def call(cls, lasting_site):
        return {"url": lasting_site.url()}


class TestHttpRequest(ToolConformance):
    tool = fixed("http_request")
    failing_call = fixed(NOT_PUBLIC)

    @pytest.fixture(scope="class")
    @classmethod
    def options(cls, lasting_site):
        return {"allow_networks": ["127.0.0.1/32"], "ports": [lasting_site.port], "methods": ["POST"]}

    @pytest.fixture(scope="class")
    @classmethod
    def call(cls, lasting_site):
        return {"url": lasting_site.url(), "method": "POST", "json_body": {"swim": True}}


class TestScrapePage(ToolConformance):
    tool = fixed("scrape_page")
    failing_call = fixed(NOT_PUBLIC)

    @pytest.fixture(scope="class")
    @classmethod
    def options(cls, lasting_site):
        return {"allow_networks": ["127.0.0.1/32"], "ports": [lasting_site.port]}

    @pytest.fixture(scope="class")
    @classmethod
    def call(cls, lasting_site):
        return {"url": lasting_site.url()}


class TestWebSearch(ToolConformance):
    tool = fixed("web_search")
    call = fixed({"query": "otters"})
    failing_call = fixed({"query": "lost"})

    @pytest.fixture(scope="class")
    @classmethod
    def options(cls, lasting_site):
        return {"providers": ["searxng"], "searxng": {"url": lasting_site.url()}}
