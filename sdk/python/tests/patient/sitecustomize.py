"""Python loads this before a program of the tests, so that its clients do not time out when the machine is slow."""

from quotagate import AsyncClient, Client

for kind in (Client, AsyncClient):
    defaults = kind.__init__.__kwdefaults__
    assert defaults is not None
    defaults.update(timeout=120.0, deadline=120.0)
