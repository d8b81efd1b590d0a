"""A sink in another language's habit: no Connection header, no Content-Length on the response to a HEAD."""

import re
import socketserver

POLYNOMIAL = 0xC96C5795D7870F42
TABLE = []
for byte in range(256):
    crc = byte
    for _ in range(8):
        crc = (crc >> 1) ^ (POLYNOMIAL & -(crc & 1))
    TABLE.append(crc)

tails = {}


def append(path, body):
    length, crc = tails.get(path, (0, 0))
    crc ^= 0xFFFFFFFFFFFFFFFF
    for byte in body:
        crc = TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    tails[path] = (length + len(body), crc ^ 0xFFFFFFFFFFFFFFFF)
    return tails[path]


class Connection(socketserver.StreamRequestHandler):
    def handle(self):
        while True:
            line = self.rfile.readline().decode("latin1")
            if not line:
                return
            method, target, _ = line.split(" ")
            length = 0
            while (header := self.rfile.readline().decode("latin1").strip()) != "":
                if match := re.match(r"content-length: *(\d+)", header, re.I):
                    length = int(match[1])
            body = self.rfile.read(length)
            if method == "HEAD":
                self.respond("404 Not Found", "")
                continue
            end, crc = append(target.split("?")[0], body)
            tail = f"x-oss-next-append-position: {end}\r\nx-oss-hash-crc64ecma: {crc}\r\n"
            self.respond("200 OK", f"{tail}content-length: 0\r\n")

    def respond(self, status, headers):
        head = f"HTTP/1.1 {status}\r\nx-oss-request-id: 0123456789ABCDEF01234567\r\n{headers}\r\n"
        self.wfile.write(head.encode("latin1"))


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True


with Server(("127.0.0.1", 0), Connection) as server:
    print(server.server_address[1], flush=True)
    server.serve_forever()
