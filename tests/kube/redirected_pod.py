"""Run inside a network of its own: a pod's sidecar and application, as the redirect sees them.

The sidecar is the real `penstock run` with uid 1337; the application is curl with uid 1000, no
proxy variable, and the published CA. Prints what happened as JSON.
Arguments: redirect.nft, folder.
"""

from __future__ import annotations

import http.server
import json
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

from penstock.cli.demo.certificate import write_server_certificate

HOST, ADDRESS = "api.openai.com", "203.0.113.9"
URL = f"https://{HOST}/v1/chat/completions"
SIDECAR_USER, APPLICATION_USER = "1337", "1000"
# The interpreter may lie where only root may look; in an image everybody may.
READING = "+dac_read_search,+dac_override"
POLICY = """
version: 1
name: pod
mode: enforce
rules:
  - {id: no-secrets-out, redact: {find: [secret], in: [request], with: placeholder}}
"""


class Provider(http.server.BaseHTTPRequestHandler):
    """Repeats the user's text as a chat completion and remembers what arrived."""

    protocol_version = "HTTP/1.1"
    arrived: list[str] = []  # noqa: RUF012  # one server, one list

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.arrived.append(body)
        said = json.loads(body)["messages"][0]["content"]
        message = {"role": "assistant", "content": said}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18}
        answer = json.dumps({"id": "c", "model": "gpt-4o", "choices": [choice], "usage": usage})
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def serve_provider(folder: Path) -> Path:
    """Serve TLS at ADDRESS; returns the CA's file."""
    ca, certificate, key = write_server_certificate(folder, [HOST])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = http.server.ThreadingHTTPServer((ADDRESS, 443), Provider)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return ca


def start_sidecar(folder: Path, ca: Path) -> subprocess.Popen[bytes]:
    (folder / "policy.yaml").write_text(POLICY)
    ready = folder / "state" / "ready.json"
    process = subprocess.Popen(
        [
            *("setpriv", "--reuid", SIDECAR_USER, "--regid", SIDECAR_USER, "--clear-groups"),
            *("--inh-caps", READING, "--ambient-caps", READING),
            *(sys.executable, "-m", "penstock", "run", "--listen", "127.0.0.1:8080"),
            *("--admin", "0.0.0.0:9900", "--transparent", "127.0.0.1:15001"),
            *("--state-dir", str(folder / "state"), "--trust-dir", str(folder / "trust")),
            *("--policy", str(folder / "policy.yaml"), "--upstream-ca", str(ca)),
            *("--ready-file", str(ready)),
        ],
        stdout=sys.stderr,
        stderr=sys.stderr,
    )
    deadline = time.monotonic() + 40
    while not ready.exists():
        assert process.poll() is None and time.monotonic() < deadline, "the sidecar did not start"
        time.sleep(0.05)
    return process


def call(folder: Path, text: str) -> dict[str, object]:
    body = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": text}]})
    finished = subprocess.run(
        [
            *("setpriv", "--reuid", APPLICATION_USER, "--regid", APPLICATION_USER),
            *("--clear-groups", "env", "-i", "PATH=/usr/bin:/bin"),
            *("curl", "-sS", "--max-time", "20", "--cacert", str(folder / "trust" / "ca.pem")),
            *("--resolve", f"{HOST}:443:{ADDRESS}", "-H", "Content-Type: application/json"),
            *("-d", body, URL),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    return {"code": finished.returncode, "out": finished.stdout, "err": finished.stderr}


def main(rules: str, folder: Path, text: str) -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["ip", "address", "add", f"{ADDRESS}/32", "dev", "lo"], check=True)
    subprocess.run(["nft", "-f", rules], check=True)
    for name in ("state", "trust"):  # as a kubelet makes an emptyDir
        (folder / name).mkdir()
        (folder / name).chmod(0o777)
    sidecar = start_sidecar(folder, serve_provider(folder))
    try:
        while_up = call(folder, text)
    finally:
        sidecar.terminate()
        sidecar.wait(20)
    while_down = call(folder, text)
    print(json.dumps({"up": while_up, "down": while_down, "arrived": Provider.arrived}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
