from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest

from quotagate import Client
from tests.gateway import Gateway, Sandbox, plan, unique

running: list[Gateway] = []


@pytest.fixture(scope="session")
def gateway() -> Iterator[Gateway]:
    gateway = Gateway()
    running.append(gateway)
    yield gateway
    gateway.stop()
    running.clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        for gateway in running:
            report.sections.append(("The last lines of the gateway's log", gateway.log()))
        report.sections.append(("Run this test alone", f"sdk/python/test.sh tests '{item.nodeid}'"))
    return report


@pytest.fixture
def sandbox(gateway: Gateway) -> Sandbox:
    return Sandbox(gateway)


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[Client]:
    with sandbox.client() as client:
        yield client


@pytest.fixture
def subscribed(sandbox: Sandbox) -> Callable[..., str]:
    """A function that creates a user with these groups, and returns its id."""

    def make(*groups: dict[str, Any], **more: Any) -> str:
        name = unique("p_")
        user = unique("u_")
        with sandbox.operator() as operator:
            operator.admin.put_plan(name, plan(*groups, **more))
            operator.upsert_subscription(user, name)
        return user

    return make


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
