"""What manifests say, done as a kubelet does it: the same arguments, environment, mounts, probes, on real servers."""

import sys
import time

import pytest
import yaml
from gate_process import GateProcess
from held_ports import free_ports
from kserve_server import KServeServer
from sample_sets import samples, save

from kserve_warmup.cli import main
from kserve_warmup.transports.http import Address, fetch_now

OWN = ["--model=model", "--runtime=kserve", "--predictor=predictors:OwnLoad", "--ready-seconds=5", "--image=i"]


def manifests(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(["manifests", *map(str, arguments)])
    assert not ended.value.code
    return {d["kind"]: d for d in yaml.safe_load_all(capsys.readouterr().out)}


def mounted(config_map, folder):
    """Lay a ConfigMap out as the kubelet does: files in a hidden folder, and links to them."""
    hidden = folder / "..2026_01_01"
    hidden.mkdir(parents=True)
    (folder / "..data").symlink_to(hidden.name)
    for name, text in config_map["data"].items():
        (hidden / name).write_bytes(text.encode())
        (folder / name).symlink_to(f"..data/{name}")
    return folder


def container(documents, number=0):
    return documents["ServingRuntime"]["spec"]["containers"][number]


def started(documents, folder):
    """Start the model server's container without its sandbox: ports and the mount's path are this machine's."""
    server, service = container(documents), documents["InferenceService"]
    model, name = service["spec"]["predictor"]["model"], service["metadata"]["name"]
    paths = {mount["mountPath"]: folder for mount in model["volumeMounts"]}
    environment = {v["name"]: paths.get(v["value"], v["value"]) for v in [*server["env"], *model["env"]]}
    arguments = [a.replace("{{.Name}}", name) for a in server["args"] if not a.startswith("--http_port=")]
    return KServeServer("", command=[sys.executable, "-m", "kserve_warmup", "serve", *arguments], **environment)


def answer(server, probe, name):
    found = server.get(probe["httpGet"]["path"].replace("{{.Name}}", name))
    return found[0] if found else None


def test_a_server_that_is_started_as_the_manifests_say_is_ready_once_it_is_warm(capsys, tmp_path):
    save(tmp_path / "set", samples("v1", "v2"))
    documents = manifests(capsys, *OWN, f"--samples={tmp_path / 'set'}")
    folder = mounted(documents["ConfigMap"], tmp_path / "mounted")
    probes = container(documents)
    started_at = time.monotonic()

    with started(documents, folder) as server:
        while answer(server, probes["startupProbe"], "model") != 200:
            assert server.process.poll() is None
            assert time.monotonic() < started_at + 90
            time.sleep(0.2)
        assert answer(server, probes["readinessProbe"], "model") == 200
        assert answer(server, probes["livenessProbe"], "model") == 200
        calls_before, _ = server.predict()

    assert calls_before >= 4  # two strata, batch sizes of each


def test_a_gate_takes_the_arguments_that_the_manifests_give_it(capsys, tmp_path):
    save(tmp_path / "set", samples("v1"))
    documents = manifests(capsys, *OWN, "--gate-image=g", f"--samples={tmp_path / 'set'}")
    folder = mounted(documents["ConfigMap"], tmp_path / "mounted")
    gate = container(documents, 1)
    url, _, *options = gate["args"]
    assert gate["command"] == ["kserve-warmup", "gate"]

    with KServeServer("OwnLoad", enabled="false") as server:
        here = url.replace("8080", str(server.http))
        kept = [option for option in options if not option.startswith("--port=")]
        with GateProcess(here, folder, *kept) as process:
            state = process.wait(lambda state: state["ready"])
            assert process.get(gate["readinessProbe"]["httpGet"]["path"])[0] == 200
    assert state["calls"] > 0


def test_a_gate_in_front_takes_the_arguments_that_the_manifests_give_it_for_knative(capsys, tmp_path):
    save(tmp_path / "set", samples("v1"))
    documents = manifests(capsys, *OWN, "--gate-image=g", "--mode=knative", f"--samples={tmp_path / 'set'}")
    folder = mounted(documents["ConfigMap"], tmp_path / "mounted")
    gate = container(documents, 1)
    url, _, *options = gate["args"]
    (users,) = free_ports(1)

    with KServeServer("OwnLoad", enabled="false") as server:
        kept = [o.replace(str(gate["ports"][0]["containerPort"]), str(users)) for o in options]
        with GateProcess(url.replace("8080", str(server.http)), folder, *kept) as process:
            process.wait(lambda state: state["ready"])
            ready = fetch_now(
                Address("127.0.0.1", users), "GET", gate["readinessProbe"]["httpGet"]["path"], {}, None, seconds=10
            )
            models = fetch_now(Address("127.0.0.1", users), "GET", "/v2/models/model/ready", {}, None, seconds=10)
    assert (ready.status, models.status) == (200, 200)
