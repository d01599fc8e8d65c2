"""``kserve-warmup manifests``: runtimes and InferenceServices with the right probes and budgets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from kserve_warmup.cli.console import output, warn
from kserve_warmup.errors import WarmupError
from kserve_warmup.manifests.found_runtime import Found, found_runtime
from kserve_warmup.manifests.kserve_objects import ServingRuntime
from kserve_warmup.manifests.manifest_options import Kind, Mode, Wanted
from kserve_warmup.manifests.output_files import Layout, chart_texts, explained, patch_texts, save, texts
from kserve_warmup.manifests.places import (
    CAPTURE,
    CAPTURE_PATH,
    PROFILE_PATH,
    PROFILES,
    sample_place,
    writable,
)
from kserve_warmup.manifests.probe_plan import warnings
from kserve_warmup.manifests.runtime_patch import patch_of
from kserve_warmup.manifests.serving_runtime import documents
from kserve_warmup.manifests.start_budget import budget, measured
from kserve_warmup.manifests.yaml_text import documents as read_documents


def run(
    *,
    model: Annotated[str, typer.Option(help="The model's name on the server.")],
    runtime: Annotated[
        Kind,
        typer.Option(
            help="Who warms the model: itself, a WarmupModel (kserve); Triton's model_warmup (triton); a gate alone, "
            "in front of any server (any)."
        ),
    ],
    report: Annotated[
        list[Path] | None,
        typer.Option(
            help="A report of a start, of KSERVE_WARMUP_REPORT, verify --json or bake --json; may be repeated: the "
            "more starts, the better the budget."
        ),
    ] = None,
    ready_seconds: Annotated[
        list[float] | None,
        typer.Option(help="A start that was measured otherwise, from the process's start to ready; may be repeated."),
    ] = None,
    margin: Annotated[float, typer.Option(help="The startup budget is the starts' p99 times this.")] = 2.0,
    max_seconds: Annotated[
        float | None, typer.Option(help="The warm-up's own limit. Default: 60.", show_default=False)
    ] = None,
    from_file: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="A ServingRuntime or ClusterServingRuntime that is there: write a patch that keeps all of it.",
        ),
    ] = None,
    from_name: Annotated[str | None, typer.Option(help="Which one, if --from holds several.")] = None,
    name: Annotated[
        str | None, typer.Option(help="The InferenceService's name. Default: the model's, with dashes.")
    ] = None,
    namespace: Annotated[str | None, typer.Option(help="Where it is. Default: none is named.")] = None,
    cluster: Annotated[bool, typer.Option("--cluster", help="Write a ClusterServingRuntime.")] = False,
    mode: Annotated[Mode, typer.Option(help="How KServe deploys.")] = Mode.STANDARD,
    image: Annotated[str | None, typer.Option(help="The server's image.")] = None,
    gate_image: Annotated[
        str | None,
        typer.Option(
            help="Put a gate beside the server, from this image with kserve-warmup in it; on Knative in front of it."
        ),
    ] = None,
    samples: Annotated[Path | None, typer.Option(help="The sample set.")] = None,
    samples_in: Annotated[
        str | None,
        typer.Option(
            metavar="WHERE",
            help="How it comes into the pod: configmap, artifact (warmup/ beside the model), image:/PATH, "
            "pvc://CLAIM/PATH or a URI that KServe downloads. Default: configmap.",
        ),
    ] = None,
    storage_uri: Annotated[str | None, typer.Option(help="Where the model's artifact is.")] = None,
    capture_in: Annotated[
        str | None, typer.Option(metavar="WHERE", help="Record traffic: pvc://CLAIM/PATH or emptydir.")
    ] = None,
    profile_in: Annotated[
        str | None, typer.Option(metavar="WHERE", help="Keep what starts have learned: pvc://CLAIM/PATH or emptydir.")
    ] = None,
    predictor: Annotated[
        str | None,
        typer.Option(metavar="MODULE:CLASS", help="What the standard image serves. Default: predictor:Predictor."),
    ] = None,
    arg: Annotated[list[str] | None, typer.Option(help="A further argument of the server; may be repeated.")] = None,
    port: Annotated[
        int | None, typer.Option(help="The server's HTTP port. Default: as --from says, else 8080.", show_default=False)
    ] = None,
    grpc_port: Annotated[int | None, typer.Option(help="Its gRPC port. Default: Triton's 9000, else the next.")] = None,
    ready_path: Annotated[
        str | None, typer.Option(help="Where it says whether the model is ready. Default: /v2/models/NAME/ready.")
    ] = None,
    live_path: Annotated[
        str | None, typer.Option(help="Where it answers while it lives. Default: /v2/health/live, none with any.")
    ] = None,
    model_format: Annotated[
        str | None, typer.Option(help="The runtime's and the model's format. Default: triton or custom.")
    ] = None,
    cpu: Annotated[str | None, typer.Option(help="Processors of the server. Default: 1.")] = None,
    memory: Annotated[str | None, typer.Option(help="Memory of the server. Default: 2Gi.")] = None,
    gpus: Annotated[int | None, typer.Option(help="GPUs of the server. Default: none.")] = None,
    min_replicas: Annotated[int, typer.Option(help="Replicas that are always there.")] = 1,
    drain_seconds: Annotated[int, typer.Option(help="Between a pod's end and the server's.")] = 5,
    layout: Annotated[
        Layout, typer.Option("--format", help="Plain YAML, a Kustomize folder, or values for a Helm chart.")
    ] = Layout.YAML,
    out: Annotated[Path | None, typer.Option(help="The folder to write to. Default: plain YAML to stdout.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Say of each field why, and from which measurement; writes only with --out."),
    ] = False,
) -> None:
    """Write Kubernetes manifests for a server that is ready only once it is warm.

    Probes ask the model's own endpoint, and a start has the time that it was measured to need.
    """
    found = _found(from_file, from_name)
    own = name or re.sub(r"[^a-z0-9]+", "-", model.lower()).strip("-")
    limit = (60.0 if max_seconds is None else max_seconds) if runtime is not Kind.TRITON or gate_image else max_seconds
    times = measured(report or (), ready_seconds or (), model)
    place = sample_place(samples, samples_in, model, own, namespace)
    asks = (found.ready_path if found else None) or (place.ready_path if place and runtime is Kind.ANY else None)
    wanted = Wanted(
        kind=runtime,
        mode=mode,
        model=model,
        name=own,
        image=image or "",
        measured=times,
        budget=budget(times, margin, limit),
        max_seconds=limit,
        samples=place,
        capture=writable(capture_in, "--capture-in", CAPTURE, CAPTURE_PATH),
        profile=writable(profile_in, "--profile-in", PROFILES, PROFILE_PATH),
        gate_image=gate_image,
        namespace=namespace,
        runtime_kind="ClusterServingRuntime" if cluster else "ServingRuntime",
        runtime_name=found.name if found else own,
        model_format=model_format
        or (found.model_format if found else None)
        or ("triton" if runtime is Kind.TRITON else "custom"),
        storage_uri=storage_uri,
        predictor=predictor or "predictor:Predictor",
        arguments=tuple(arg or ()),
        port=port if port is not None else (found.port if found else None) or 8080,
        grpc_port=grpc_port,
        ready_path=ready_path or asks,
        live_path=live_path,
        cpu="1" if cpu is None else cpu,
        memory="2Gi" if memory is None else memory,
        gpus=gpus or 0,
        min_replicas=min_replicas,
        drain_seconds=drain_seconds,
        filled_in=layout is not Layout.HELM,
    )
    _check(wanted, found, layout, out, explain=explain)
    kept = {"--image": image, "--predictor": predictor, "--arg": arg, "--cpu": cpu, "--memory": memory, "--gpus": gpus}
    if found and (given := next((option for option, value in kept.items() if value is not None), None)):
        raise WarmupError(f"--from keeps what the runtime has: leave out {given}")
    _write(wanted, found, from_file, layout, out, force=force, explain=explain)


def _found(path: Path | None, name: str | None) -> Found | None:
    """Return the runtime that is to be patched, if one is."""
    if path is None:
        if name is not None:
            raise WarmupError("--from-name chooses in a file: name that with --from")
        return None
    return found_runtime(read_documents(path), str(path), name)


def _check(wanted: Wanted, found: Found | None, layout: Layout, out: Path | None, *, explain: bool) -> None:
    """Refuse options that contradict each other, before anything is written."""
    if found is None:
        if not wanted.image:
            raise WarmupError("--image is missing: name the server's image, or an existing runtime with --from FILE")
    elif layout is Layout.HELM:
        raise WarmupError("--from patches a runtime: give --format yaml or kustomize")
    elif wanted.ready_path is None and (found.declares_others or (wanted.kind is Kind.ANY and not found.protocols)):
        msg = "its protocolVersions have no v2, so nobody knows where it says that a model is ready"
        raise WarmupError(f"{found.name}: {msg}: give --ready-path")
    if out is None and layout is Layout.KUSTOMIZE and not explain:
        raise WarmupError("--format kustomize is a folder: name it with --out DIR")


def _write(
    wanted: Wanted,
    found: Found | None,
    path: Path | None,
    layout: Layout,
    out: Path | None,
    *,
    force: bool,
    explain: bool,
) -> None:
    """Make all files, and only then write them; what a person should know goes to stderr."""
    objects = documents(wanted)
    files: Mapping[str, str | bytes]
    patch = None
    if found is not None and path is not None:
        objects = tuple(one for one in objects if not isinstance(one, ServingRuntime))
        patch = patch_of(found, wanted)
        files = patch_texts(found, patch, path.read_bytes(), objects, layout)
    else:
        files = chart_texts(wanted) if layout is Layout.HELM else texts(objects, layout)
    for line in warnings(wanted):
        warn(f"kserve-warmup: {line}")
    if explain:
        for line in explained(objects, patch):
            output().say(line)
    if out is not None:
        for file in save(files, out, force=force):
            warn(f"wrote {file}")
    elif not explain:
        typer.echo("---\n".join(text for text in files.values() if isinstance(text, str)), nl=False)
