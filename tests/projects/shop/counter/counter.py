"""Counts what comes by UDP, and tells it over HTTP."""

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

heard: list[bytes] = []


def count() -> None:
    ears = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    ears.bind(("0.0.0.0", 8125))
    while True:
        data, sender = ears.recvfrom(1500)
        heard.append(data)
        ears.sendto(b"heard " + data, sender)


class Teller(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = f"{len(heard)}\n".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


threading.Thread(target=count, daemon=True).start()
ThreadingHTTPServer(("", 8126), Teller).serve_forever()
