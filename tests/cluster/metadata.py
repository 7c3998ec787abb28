"""A stand-in for EC2's metadata service (IMDSv2): ``python metadata.py ADDRESS PORT FILE``.

The notice is FILE's content, and there is none while FILE is not there.
"""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

TOKEN = "a-token"


def metadata_server(address: str, port: int, notice: Path) -> ThreadingHTTPServer:
    """Return a server that is not yet serving."""

    class Metadata(BaseHTTPRequestHandler):
        def do_PUT(self):
            asked = self.headers["X-aws-ec2-metadata-token-ttl-seconds"]
            self.answer(200 if self.path == "/latest/api/token" and asked else 400, TOKEN)

        def do_GET(self):
            if self.headers["X-aws-ec2-metadata-token"] != TOKEN:
                self.answer(401)
            elif self.path == "/latest/meta-data/spot/instance-action" and notice.exists():
                self.answer(200, notice.read_text())
            else:
                self.answer(404)

        def answer(self, code: int, text: str = "") -> None:
            self.send_response(code)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_args) -> None:
            pass

    return ThreadingHTTPServer((address, port), Metadata)


if __name__ == "__main__":
    metadata_server(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])).serve_forever()
