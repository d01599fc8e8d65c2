"""Stands in for servers whose engine or model comes later than their port: ``late_server.py KIND FLAG PORT [HOST]``.

Until the file FLAG exists, ``tensorflow`` says 200 and LOADING on its status and 404 to requests, as TensorFlow
Serving does, which is not to be had here. A number is a front end of OpenAI's kin: its list of models is 200, and
requests get that status.
"""

import json
import socket
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

KIND, FLAG, PORT, HOST = (*sys.argv[1:4], *sys.argv[4:], "127.0.0.1")[:4]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if KIND == "tensorflow":
            state = "AVAILABLE" if Path(FLAG).exists() else "LOADING"
            status = {"version": "3", "state": state, "status": {"error_code": "OK", "error_message": ""}}
            known = self.path == "/v1/models/model"
            return self._answer(200 if known else 404, {"model_version_status": [status]} if known else {})
        known = self.path == "/v1/models"
        return self._answer(200 if known else 404, {"object": "list", "data": [{"id": "model"}]} if known else {})

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        if Path(FLAG).exists():
            return self._answer(200, {"predictions": [1], "choices": []})
        if KIND == "tensorflow":
            return self._answer(404, {"error": "Servable not found for request: Latest(model)"})
        return self._answer(int(KIND), {"error": "no engine"})

    def _answer(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    address_family = socket.AF_INET6 if ":" in HOST else socket.AF_INET


Server((HOST, int(PORT)), Handler).serve_forever()
