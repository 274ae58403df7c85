"""A real engine used from other programs, and from the network only where that was asked for."""

import json
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from dataclasses import replace

import pytest
from tests.services.engines.conftest import Watch, planned
from tests.services.engines.processes import wait_for

from splitrig.core.engine import Phase
from splitrig.core.share import EVERYWHERE, Way, lines_for
from splitrig.services.engines.ports import free_port, lan_addresses

pytestmark = pytest.mark.engine


def reached(url: str, key: str = "") -> int:
    """Status of a short question; the list of models alone is free to all in llama-server."""
    body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = urllib.request.Request(
        f"{url}/v1/chat/completions", json.dumps(body).encode(), headers
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0


def test_the_line_for_curl_works_as_it_is(watch: Watch) -> None:
    assert shutil.which("curl"), "install curl"
    watched = watch()
    watched.start(*planned(1.0, 1.0))
    ready = watched.wait(Phase.READY)
    assert ready.network_urls == ()
    line = lines_for(Way.CURL, ready.url or "", ready.api_key, "SmolLM2")
    body = line.replace('"Hello"}]}', '"Hello"}], "max_tokens": 4}')
    assert body != line
    done = subprocess.run(["sh", "-c", body], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["choices"][0]["message"]["content"]
    for address in lan_addresses():
        port = int((ready.url or "").rpartition(":")[2])
        with socket.socket() as probe:
            probe.settimeout(2)
            assert probe.connect_ex((address, port)) != 0, "only loopback may answer"


@pytest.mark.skipif(not lan_addresses(), reason="this machine is on no network")
def test_the_network_reaches_it_with_the_key_after_an_explicit_choice(watch: Watch) -> None:
    watched = watch()
    request, plan = planned(1.0, 1.0)
    watched.start(replace(request, host=EVERYWHERE), plan)
    ready = watched.wait(Phase.READY)
    assert len(ready.network_urls) == len(lan_addresses())
    url = ready.network_urls[0]
    assert reached(url) == 401
    assert reached(url, "sk-guess") == 401
    assert reached(url, ready.api_key or "") == 200
    assert (ready.url or "").startswith("http://127.0.0.1:")


@pytest.mark.skipif(not lan_addresses(), reason="this machine is on no network")
@pytest.mark.parametrize("host", [lan_addresses()[0] if lan_addresses() else "", "127.0.0.2"])
def test_one_that_listens_on_a_single_address_is_found_there(watch: Watch, host: str) -> None:
    watched = watch(start_timeout_s=15)
    request, plan = planned(1.0, 1.0)
    watched.start(replace(request, host=host), plan)
    ready = watched.wait(Phase.READY)
    assert (ready.url or "").startswith(f"http://{host}:")
    assert reached(ready.url or "", ready.api_key or "") == 200
    wait_for(lambda: watched.drain() or watched.metered)


def test_an_address_that_is_not_ours_is_one_sentence(watch: Watch) -> None:
    watched = watch()
    request, plan = planned(1.0, 1.0)
    watched.start(replace(request, host="203.0.113.7"), plan)
    failed = watched.wait(Phase.FAILED)
    assert failed.failure is not None
    assert failed.failure.message.startswith("This machine cannot listen on 203.0.113.7: ")
    watched.statuses.clear()
    watched.start(replace(request, host="203.0.113.7", port=free_port()), plan)
    failed = watched.wait(Phase.FAILED)
    assert failed.failure is not None
    assert "cannot be taken" in failed.failure.message


@pytest.mark.parametrize("host", ["", "::1"])
def test_what_is_no_ipv4_address_is_refused_before_anything_starts(watch: Watch, host: str) -> None:
    watched = watch()
    request, plan = planned(1.0, 1.0)
    watched.start(replace(request, host=host), plan)
    failed = watched.wait(Phase.FAILED)
    assert failed.failure is not None
    assert failed.failure.message == f"'{host}' is no IPv4 address of this machine."


@pytest.mark.skipif(not lan_addresses(), reason="this machine is on no network")
def test_one_address_of_the_network_alone_is_watched_there(watch: Watch) -> None:
    watched = watch()
    request, plan = planned(1.0, 1.0)
    host = lan_addresses()[0]
    watched.start(replace(request, host=host), plan)
    ready = watched.wait(Phase.READY)
    assert (ready.url or "").startswith(f"http://{host}:")
    assert reached(ready.url or "", ready.api_key or "") == 200
