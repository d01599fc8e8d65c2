"""Whatever predictors are sent is a sample: own JSON, raw bytes, compressed bodies, and the logs they stand in."""

from __future__ import annotations

import base64
import gzip
import json
import zlib

import pytest

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.bodies import parse, request
from kserve_warmup.samples.store import SampleSet
from kserve_warmup.sampling.digest import Job, sniffed
from kserve_warmup.sampling.formats.record import BadRecord, Part, ReadOptions
from kserve_warmup.sampling.formats.seldon import translated
from kserve_warmup.sampling.reader import read, sample_traffic

PREDICT = "/v1/models/m:predict"
PNG = b"\x89PNG\r\n\x1a\n"
CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def write(folder, content, name="traffic"):
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def lines(*records):
    return "\n".join(map(json.dumps, records)) + "\n"


def envelope(body, *, path=PREDICT, **headers):
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return {"path": path, "headers": names, "body_b64": base64.b64encode(body).decode()}


def bodies(folder, content, **options):
    return [sample.body for sample in read([write(folder, content)], options=ReadOptions(model="m", **options))]


def logged(number, kind, body):
    return {"bytes": base64.b64encode(body).decode(), "reqType": f"a.{kind}", "id": str(number)}


def event(data, kind="io.seldon.serving.inference.request", number="1"):
    fields = {"specversion": "1.0", "type": kind, "source": "/", "id": number, "datacontenttype": "application/json"}
    return fields | {"data": data}


def captured(data, kind="text/csv", encoding="CSV"):
    given = {"observedContentType": kind, "mode": "INPUT", "data": data, "encoding": encoding}
    return {"captureData": {"endpointInput": given}, "eventMetadata": {"eventId": "e"}, "eventVersion": "0"}


@pytest.mark.parametrize(
    ("record", "protocol", "signature"),
    [
        (b'{"roi": "aGk=",  "country": "xx"}', "v1", "country:BYTES[256] roi:BYTES[256]"),
        (envelope(b'{"roi": "aGk=",  "country": "xx"}'), "v1", "country:BYTES[256] roi:BYTES[256]"),
        (envelope(b"[[1, 2.50]]"), "v1", "body:FP64[N,2]"),
        (envelope(b'[{"a": 1, "t": "x"}, {"a": 2.5, "t": "y"}]'), "v1", "a:FP64[N] t:BYTES[N,256]"),
        (envelope(b"[]"), "v1", "body:FP64[0]"),
        (envelope(b"{}"), "v1", "body:JSON[]"),
        (envelope(b'{"a": {"b": {"c": [1, null]}}, "d": true}'), "v1", "a.b.c:JSON[2] d:BOOL[]"),
        (envelope(PNG, content_type="image/png"), "raw", "image/png:BYTES[256]"),
        (envelope(PNG * 100, content_type="IMAGE/PNG; q=1"), "raw", "image/png:BYTES[1024]"),
        (envelope(b"5", content_type="text/csv"), "raw", "text/csv:BYTES[256]"),
        (envelope(b"", content_type="application/avro"), "raw", "application/avro:BYTES[256]"),
        (envelope(b'{"q": "x"}', path="/v2/models/m/generate"), "v1", "q:BYTES[256]"),
        (b'{"text_input": "hi",  "stream": false}', "v1", "stream:BOOL[] text_input:BYTES[256]"),
        (envelope(b'{"text_1": "a",  "text_2": "b"}', path="/score"), "openai", "score:BYTES[N,1]"),
    ],
)
def test_any_body_is_kept_byte_for_byte_in_a_stratum_of_its_keys_kinds_and_sizes(tmp_path, record, protocol, signature):
    body = record if isinstance(record, bytes) else base64.b64decode(record["body_b64"])
    file = write(tmp_path, record if isinstance(record, bytes) else json.dumps(record))
    made, _ = sample_traffic([file], "m")
    (sample,) = SampleSet.open(made.save(tmp_path / "set"))
    assert (sample.protocol, str(sample.signature), sample.body) == (protocol, signature, body)
    if protocol == "raw":
        assert sample.headers["content-type"] == record["headers"]["content-type"]


def test_an_envelopes_json_is_kept_as_it_stands_there(tmp_path):
    written = b'{"a":  1.50, "big": 123456789012345678901234, "nan": NaN}'
    for line in (b'{"path": "%s", "body": %s}', b'{"body": %s, "path": "%s"}'):
        parts = (PREDICT.encode(), written) if line.startswith(b'{"path') else (written, PREDICT.encode())
        (body,) = bodies(tmp_path, line % parts)
        assert b"NaN" in body
        assert b"null" not in body


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [
        ("gzip", gzip.compress),
        ("X-GZIP", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", lambda body: zlib.compress(body)[2:-4]),
        ("identity", bytes),
        ("gzip, gzip", lambda body: gzip.compress(gzip.compress(body, mtime=0))),
        ("gzip", lambda body: gzip.compress(body[:5], mtime=0) + gzip.compress(body[5:])),
        ("gzip", bytes),
    ],
)
def test_a_compressed_body_is_kept_as_what_it_holds(tmp_path, encoding, compress):
    plain = b'{"instances": [[1.0]]}'
    record = envelope(compress(plain), content_type="application/json", content_encoding=encoding)
    (sample,) = read([write(tmp_path, json.dumps(record))])
    assert (sample.body, sample.headers) == (plain, {"content-type": "application/json"})


@pytest.mark.parametrize(
    ("encoding", "body", "reason"),
    [
        ("br", b"x", "content-encoding is 'br'"),
        ("gzip", gzip.compress(b"[1]", mtime=0)[:-9], "damaged"),
        ("gzip", b"\0", "damaged"),
        ("gzip", gzip.compress(b" " * 2**29, mtime=0), "once it is decompressed"),
    ],
)
def test_a_compressed_body_that_cannot_be_read_says_why(tmp_path, encoding, body, reason):
    (bad,) = read([write(tmp_path, json.dumps(envelope(body, content_encoding=encoding)))])
    assert reason in bad.reason


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"request": {"instances": [[1]]}}\n', "a request below its key 'request'"),
        (b'[{"instances": [[1]]}, {"instances": [[2]]}]', "one a line"),
        (b'{"predictions": [1]}\n', "looks like an answer"),
        (b'{"bytes": 7, "reqType": "request"}\n', "not base64"),
        (b'{"specversion": "1.0", "type": "a.request", "source": 1}\n' + b'{"instances": [1}', "traffic:1: the event"),
        (b"hello world", "begin with 'hello world'"),
        (PNG, "no content type"),
        (json.dumps(envelope(PNG)).encode(), "no content type"),
        (json.dumps(envelope(PNG, content_type="application/json")).encode(), "not JSON"),
        (json.dumps(envelope(b'{"instances": [1')).encode(), "not JSON"),
        (json.dumps(envelope(b"5")).encode(), "no content type"),
        (json.dumps(envelope(PNG, path="/v2/models/m/infer", content_type="image/png")).encode(), "no inference"),
    ],
)
def test_what_is_no_request_is_named_with_what_it_looks_like(tmp_path, content, reason):
    file = write(tmp_path, content)
    with pytest.raises(SampleError, match=str(file)) as raised:
        sample_traffic([file], "m")
    assert reason in str(raised.value)


def test_a_raw_body_cannot_be_scrubbed_in_part_and_strict_says_so():
    from kserve_warmup.protocols.edits import UncoveredError

    body = parse("raw", PNG, {"content-type": "image/png"})
    assert body.edit([], [], strict=False)[0] == PNG
    with pytest.raises(UncoveredError, match="image/png"):
        body.edit([], [], strict=True)


DISPLAYED = """\
2024/05/01 08:00:00 listening
{before}☁️  cloudevents.Event
{before}Validation: valid
{before}Context Attributes,
{before}  specversion: 1.0
{before}  type: org.kubeflow.serving.inference.request
{before}  source: http://localhost:9081/
{before}  id: 7
{before}  time: 2024-03-01T10:00:00Z
{before}  datacontenttype: {kind}
{before}Extensions,
{before}  inferenceservicename: m
{before}Data,
{before}  {data}
{before}☁️  cloudevents.Event
{before}Context Attributes,
{before}  specversion: 1.0
{before}  type: org.kubeflow.serving.inference.response
{before}  id: 7
{before}Data,
{before}  {{}}
"""


@pytest.mark.parametrize("before", ["", "[pod/display-0/user-container] ", "2024-03-01T10:00:00.123456789Z "])
def test_what_event_display_prints_is_read(tmp_path, before):
    data = json.dumps({"instances": [[1.0, 2.0]]}, indent=2).replace("\n", f"\n{before}  ")
    text = DISPLAYED.format(before=before, kind="application/json", data=data)
    file = write(tmp_path, text + f"{before}2024/05/01 08:00:01 some other line\n")
    assert sniffed(str(file)) == "event-display"
    (sample,) = read([file])
    assert (sample.body, sample.protocol) == (b'{"instances":[[1.0,2.0]]}', "v1")
    made, tally = sample_traffic([file], "m", job=Job(status_ok=True))
    assert (len(made), tally.requests) == (1, 1)


def test_text_in_an_event_that_is_displayed_is_kept_as_text(tmp_path):
    (sample,) = read([write(tmp_path, DISPLAYED.format(before="", kind="text/csv", data="1,2"))])
    assert (sample.protocol, sample.body, sample.headers) == ("raw", b"1,2", {"content-type": "text/csv"})


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"data": {"names": ["a", "b"], "ndarray": [[1, 2.5]]}}, {"instances": [[1, 2.5]]}),
        ({"data": {"tensor": {"shape": [2, 2], "values": [1, 2, 3, 4]}}}, {"instances": [[1, 2], [3, 4]]}),
        ({"strData": "hi"}, {"instances": ["hi"]}),
        ({"binData": "aGk="}, {"instances": [{"b64": "aGk="}]}),
        ({"jsonData": {"mine": [1]}}, {"mine": [1]}),
        ({"jsonData": [1]}, {"instances": [1]}),
    ],
)
def test_seldons_protocol_becomes_v1(tmp_path, document, told):
    assert [json.loads(body) for body in bodies(tmp_path, lines(event(document)))] == [told]
    assert [json.loads(body) for body in bodies(tmp_path, lines(document))] == [told]
    assert [json.loads(body) for body in bodies(tmp_path, lines({"request": {"payload": document}}))] == [told]


def test_a_kserve_predictor_that_takes_seldons_protocol_gets_it_as_it_is(tmp_path):
    body = b'{"data": {"ndarray": [[1]]}}'
    assert bodies(tmp_path, json.dumps(envelope(body))) == [body]


@pytest.mark.parametrize("data", [{"tftensor": {}}, {"tensor": {"shape": [3], "values": [1]}}, {"ndarray": 1}])
def test_seldons_data_that_has_no_form_in_v1_is_refused(tmp_path, data):
    (bad,) = read([write(tmp_path, lines(event({"data": data})))])
    assert "Seldon's" in bad.reason
    assert translated(next(iter(_records(tmp_path, b'{"instances": [1]}')))).body == b'{"instances": [1]}'


def _records(folder, content):
    from kserve_warmup.sampling.formats import jsonl

    return jsonl.read(Part.whole(write(folder, content)), ReadOptions())


@pytest.mark.parametrize(
    ("kind", "data", "told"),
    [
        (
            "application/jsonlines",
            '{"features": [1]}\n{"features": [2]}',
            b'{"instances":[{"features":[1]},{"features":[2]}]}',
        ),
        ("application/json", "[[1, 2]]", b'{"instances":[[1,2]]}'),
        ("application/json", '{"mine":  1}', b'{"mine":  1}'),
        ("application/json", '{"instances":  [1]}', b'{"instances":  [1]}'),
        ("text/plain", "hello", b"hello"),
    ],
)
def test_what_sagemaker_captures_of_json_is_read(tmp_path, kind, data, told):
    assert bodies(tmp_path, lines(captured(data, kind, "JSON"))) == [told]


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        *(("2.5", 2.5), ("7", 7), ("-3", -3), ("+3", 3), (".5", 0.5), ("5.", 5.0), ("1e3", 1000.0), (" 1 ", 1)),
        *(
            (text, text)
            for text in ("10_11", "1_0.5", "0x1", "\uff11\uff12", "inf", "-Infinity", "nan", "1e999", "1 2", "")
        ),
        ("123456789012345678901234", 123456789012345678901234),
    ],
)
def test_a_cell_is_a_number_where_readers_of_csv_take_it_for_one(tmp_path, cell, told):
    (body,) = bodies(tmp_path, lines(captured(f"{cell},2.5")))
    assert json.loads(body) == {"instances": [[told, 2.5]]}
    assert b"null" not in body


def test_csv_of_a_declared_input_carries_nan_and_infinity(tmp_path):
    file = write(tmp_path, lines(captured("nan,-inf\n1,2.5")))
    from kserve_warmup.samples.sample import TensorSpec

    (sample,) = read([file], options=ReadOptions(inputs={"x": TensorSpec("x", "FP32", (2,))}))
    (tensor,) = parse("v2-binary", sample.body, sample.headers).tensors()
    assert str(tensor.data.tolist()) == "[[nan, -inf], [1.0, 2.5]]"
    (text,) = read([file], options=ReadOptions(inputs={"x": TensorSpec("x", "BYTES", (2,))}))
    assert parse("v2-binary", text.body, text.headers).tensors()[0].data.tolist()[1] == [b"1", b"2.5"]


def test_a_column_of_csv_with_pythons_numbers_is_text(tmp_path):
    (first, second) = read([write(tmp_path, "a,b\n1_0,\uff11\n2_0,\uff12\n")])
    assert [str(t.signature) for t in (first, second)] == ["a:BYTES[N] b:BYTES[N]"] * 2


def test_a_cell_of_another_type_is_told_the_option_that_settles_it(tmp_path):
    from kserve_warmup.samples.sample import TensorSpec

    rows = "a,b\n" + "1,1\n" * 300 + "2.5,1\n"
    found = list(read([write(tmp_path, rows)]))
    (bad,) = (one for one in found if isinstance(one, BadRecord))
    assert "--input 'a:FP64'" in bad.reason
    typed = list(read([tmp_path / "traffic"], options=ReadOptions(inputs={"a": TensorSpec("a", "FP64", ())})))
    assert {str(sample.signature) for sample in typed} == {"a:FP64[N] b:INT64[N]"}


def test_an_input_of_perf_analyzer_has_one_type_over_the_file(tmp_path):
    found = list(read([write(tmp_path, '{"data": [{"x": [1, 0]}, {"x": [0.5, 0]}]}')]))
    assert {str(sample.signature) for sample in found} == {"x:FP32[N,2]"}


@pytest.mark.parametrize("odd", ["text", True])
def test_an_entry_with_another_type_than_the_others_is_told_the_option_that_settles_it(tmp_path, odd):
    content = json.dumps({"data": [{"x": [1]}, {"x": [odd]}, {"x": [2.5]}]})
    *found, bad = sorted(read([write(tmp_path, content)]), key=lambda one: isinstance(one, BadRecord))
    assert {str(sample.signature) for sample in found} == {"x:FP32[N,1]"}
    assert (bad.number, "--input 'x:" in bad.reason) == (2, True)


@pytest.mark.parametrize(
    "entries",
    [
        [{"payload": [CHAT, CHAT]}],
        [{"payload": [CHAT]}, {"payload": [CHAT]}],
        [{"session_id": "1", "payloads": [CHAT, CHAT]}],
    ],
)
def test_payloads_of_genai_perf_and_aiperf_are_the_requests(tmp_path, entries):
    assert [json.loads(body) for body in bodies(tmp_path, json.dumps({"data": entries}))] == [CHAT, CHAT]


def test_turns_of_aiperf_become_chats(tmp_path):
    talk = {
        "session_id": "1",
        "turns": [{"role": "system", "text": "short"}, {"text": "a"}, {"text": "b", "output_length": 5}],
    }
    single, sent = {"text": "c", "extra": {"seed": 1}, "delay": 1}, {"timestamp": 0, "payload": CHAT}
    first, second, third, fourth = map(json.loads, bodies(tmp_path, lines(talk, single, sent)))
    assert [m["content"] for m in first["messages"]] == ["short", "a"]
    assert ([m["content"] for m in second["messages"]], second["max_tokens"]) == (["short", "a", "b"], 5)
    assert (third["model"], third["messages"][0]["content"], third["seed"]) == ("m", "c", 1)
    assert fourth == CHAT
    (bad,) = read([write(tmp_path, lines({"timestamp": 0, "input_length": 7, "hash_ids": [1]}))])
    assert "inputs.json" in bad.reason


def test_a_batch_file_of_openai_keeps_its_urls(tmp_path):
    def line(url, body):
        return {"custom_id": "1", "method": "POST", "url": url, "body": body}

    given = (("/v1/chat/completions", CHAT), ("/v1/responses", {"model": "m", "input": "hi"}))
    given += (("https://api.example.com/openai/v1/embeddings", {"model": "m", "input": "hi"}),)
    made, _ = sample_traffic([write(tmp_path, lines(*(line(*one) for one in given)))], "m")
    assert sorted(s.path for s in made) == ["/openai/v1/embeddings", "/v1/chat/completions", "/v1/responses"]


@pytest.mark.parametrize("order", ["answers behind", "answers first", "answers at the end"])
def test_a_log_with_answers_tells_which_requests_were_refused(tmp_path, order):
    asked = [logged(n, "request", b'{"instances": [[%d]]}' % n) for n in range(50)]
    answers = [logged(n, "response", b"{}") for n in range(50) if n != 7]
    records = {
        "answers behind": [r for n, one in enumerate(asked) for r in (one, *(a for a in answers if a["id"] == str(n)))],
        "answers first": answers + asked,
        "answers at the end": asked + answers,
    }[order]
    file = write(tmp_path, lines(*records))
    _, tally = sample_traffic([file], "m", job=Job(status_ok=True))
    assert (tally.requests, tally.passed_over) == (49, 1)
    _, tally = sample_traffic([file], "m")
    assert (tally.requests, tally.passed_over) == (50, 0)
    _, tally = sample_traffic([write(tmp_path, lines(*asked))], "m", job=Job(status_ok=True))
    assert (tally.requests, tally.passed_over) == (50, 0)  # a log without answers tells nothing


def test_json_that_curl_was_not_told_the_type_of_is_json(tmp_path):
    record = logged(1, "request", b'{"instances": [1]}') | {"contentType": "application/x-www-form-urlencoded"}
    (sample,) = read([write(tmp_path, lines(record))])
    assert (sample.protocol, sample.headers["content-type"]) == ("v1", "application/json")


def test_a_document_with_an_answer_tells_that_others_have_none(tmp_path):
    both = {"request": {"payload": {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]}}}
    file = write(tmp_path, lines(both | {"response": {"payload": {}}}, both))
    _, tally = sample_traffic([file], "m", job=Job(status_ok=True))
    assert (tally.requests, tally.passed_over) == (1, 1)


def trace(*entries):
    return json.dumps([one for entry in entries for one in entry], separators=(",", ":"))


def traced(number, model, parent=None, **inputs):
    head = {"id": number, "model_name": model, "model_version": 1} | ({"parent_id": parent} if parent else {})
    tensors = [{"name": n, "data": ",".join(["7"] * w), "shape": f"1,{w}", "dtype": t} for n, (w, t) in inputs.items()]
    return [head, *({"id": number, "activity": "TENSOR_QUEUE_INPUT", "tensor": tensor} for tensor in tensors)]


def test_a_trace_of_an_ensemble_is_asked_for_a_member(tmp_path):
    raw, tokens = {"RAW": (8, "UINT8")}, {"TOKENS": (4, "INT64")}
    file = write(tmp_path, trace(traced(1, "pipe", **raw), traced(2, "prep", 1, **raw), traced(3, "cls", 1, **tokens)))
    told = {
        model: [str(s.signature) for s in read([file], options=ReadOptions(model=model))] for model in ("pipe", "cls")
    }
    assert told == {"pipe": ["RAW:UINT8[N,8]"], "cls": ["TOKENS:INT64[N,4]"]}
    (bad,) = read([file], options=ReadOptions(model="other"))
    assert "only of cls, pipe, prep" in bad.reason


def test_requests_of_generate_are_sent_to_generate():
    assert request("v1", b'{"text_input": "hi"}').path == "/v2/models/{model}/generate"
