"""The client of PyPI `websockets` against the example `echo`: websockets_client.py HOST:PORT"""

import itertools
import sys
import threading

from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.sync.client import connect

DEADLINE = 60
counts = {"checks": 0, "failed": 0}
lock = threading.Lock()


def check(name, good, detail=""):
    with lock:
        counts["checks"] += 1
        if not good:
            counts["failed"] += 1
            print(f"websockets: FAILED: {name} {detail}", file=sys.stderr)


def noise(size):
    state, out = 12345, bytearray()
    while len(out) < min(size, 100_003):
        state = (state * 1103515245 + 12345) & 0xFFFFFFFF
        out.append(state >> 16 & 255)
    return bytes((out * (size // max(len(out), 1) + 1))[:size])


def text(size):
    line = "".join(f"{n}: Grüße, 世界 😀 " for n in range(200))
    return (line * (size // len(line) + 1))[:size]


def client(address, extension=None):
    return connect(
        f"ws://{address}/",
        compression=None,
        extensions=[extension] if extension else None,
        max_size=None,
        open_timeout=DEADLINE,
        close_timeout=DEADLINE,
    )


def conversation(address, name, extension, expected):
    with client(address, extension) as socket:
        got = socket.protocol.extensions
        if expected is None:
            check(f"{name}: negotiated", got == [], got)
        else:
            mine = (
                got[0].remote_no_context_takeover,
                got[0].local_no_context_takeover,
                got[0].remote_max_window_bits,
                got[0].local_max_window_bits,
            )
            check(f"{name}: negotiated", mine == expected, f"{mine}, not {expected}")
        for size in [0, 1, 125, 126, 1000, 65_535, 65_536, 300_000]:
            for message in [noise(size), text(size), text(size)]:
                socket.send(message)
                good = socket.recv(timeout=DEADLINE) == message
                check(f"{name}: {size} of {type(message).__name__}", good)
        message = text(20_000)
        socket.send(message[at : at + 77] for at in range(0, len(message), 77))
        check(f"{name}: fragments", socket.recv(timeout=DEADLINE) == message)
        check(f"{name}: pong", socket.ping(b"payload").wait(DEADLINE))
        socket.close(4000, "done")
        check(f"{name}: close", (socket.close_code, socket.protocol.close_rcvd.code) == (4000, 4000))


def refused(address, name, code, send):
    with client(address) as socket:
        try:
            send(socket)
            socket.recv(timeout=DEADLINE)
            check(name, False, "it was answered")
        except ConnectionClosed as closed:
            got = closed.rcvd.code if closed.rcvd else None
            check(name, got == code, f"{got}, not {code}")


def parallel(address):
    with client(address, ClientPerMessageDeflateFactory()) as socket:
        for size in range(1, 4000, 97):
            socket.send(text(size))
            check("in parallel", socket.recv(timeout=DEADLINE) == text(size))


def main():
    address = sys.argv[1]
    conversation(address, "plain", None, None)
    flags = itertools.product([False, True], [False, True], [None, 9, 11, 15], [None, True, 9, 14, 15])
    for server_no, client_no, server_bits, client_bits in flags:
        extension = ClientPerMessageDeflateFactory(server_no, client_no, server_bits, client_bits)
        window = 15 if client_bits in (None, True) else client_bits
        name = f"deflate {server_no} {client_no} {server_bits} {client_bits}"
        expected = (server_no, client_no, server_bits or 15, window)
        conversation(address, name, extension, expected)
    with client(address) as socket:
        message = noise(16 << 20)
        socket.send(message)
        check("16 MiB", socket.recv(timeout=DEADLINE) == message)
    refused(address, "more than 16 MiB", 1009, lambda socket: socket.send(bytes((16 << 20) + 1)))
    refused(address, "text that is not UTF-8", 1007, lambda socket: socket.send(b"\xc3(", text=True))
    threads = [threading.Thread(target=parallel, args=(address,)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(f"websockets: {counts['checks']} checks, {counts['failed']} failed")
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
