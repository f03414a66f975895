#!/usr/bin/env python3
"""Records what real clients and a real Dolt say to each other, as seeds for fuzz/corpus and tests/recorded.

    scripts/capture-corpus.py --dolt .tools/bin/dolt --client 'mariadb --no-defaults …' [--client …]

Starts a Dolt in a directory of its own and a forwarder before it, runs each client command through the shell (with BL_HOST,
BL_PORT, BL_USER, BL_PASSWORD, BL_DATABASE, BL_SCRATCH and BL_SHARED set, as tests/clients.rs does), and writes each new shape of
packet as one seed. Nothing longer than 8 KiB is kept, nor what names a path or this machine; each corpus stops at its budget.
"""

import argparse
import hashlib
import os
import pathlib
import re
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
SEED_BYTES_MAX = 8 * 1024
CORPUS_BYTES_MAX = {"reply": 200 * 1024, "sql": 120 * 1024, "text_rows": 120 * 1024}
CORPUS_BYTES_MAX_OTHER = 32 * 1024
RECORDED_BYTES_MAX = 24 * 1024
CLIENT_SECONDS_MAX = 120
DEPRECATE_EOF = 1 << 24
EXPECT = {0x03: 0, 0x17: 0, 0x16: 1, 0x1C: 2, 0x04: 3, 0x1F: 5}
NO_REPLY = (0x01, 0x18, 0x19)


class Tape:
    """One connection: pieces in the order in which they passed the forwarder."""

    def __init__(self):
        self.pieces = []
        self.lock = threading.Lock()

    def add(self, from_client, data):
        with self.lock:
            self.pieces.append((from_client, data))


def forward(listener, port, tapes):
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        server = socket.create_connection(("127.0.0.1", port))
        tape = Tape()
        tapes.append(tape)
        for source, target, from_client in ((client, server, True), (server, client, False)):
            threading.Thread(target=pump, args=(source, target, from_client, tape), daemon=True).start()


def pump(source, target, from_client, tape):
    try:
        while data := source.recv(65536):
            tape.add(from_client, data)
            target.sendall(data)
    except OSError:
        pass
    for end in (source, target):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def packets(tape):
    """(from client, sequence number, payload, whole frame), in order; the frames of a long packet stay apart."""
    held = {True: b"", False: b""}
    for from_client, data in tape.pieces:
        held[from_client] += data
        while len(held[from_client]) >= 4:
            size = int.from_bytes(held[from_client][:3], "little")
            if len(held[from_client]) < 4 + size:
                break
            frame = held[from_client][: 4 + size]
            held[from_client] = held[from_client][4 + size :]
            yield from_client, frame[3], frame[4:], frame


class Corpora:
    def __init__(self, forbidden):
        self.forbidden = forbidden
        self.bytes = {}
        self.shapes = set()

    def add(self, name, seed, shape=None):
        if len(seed) > SEED_BYTES_MAX or any(word in seed for word in self.forbidden):
            return
        shape = (name, shape if shape is not None else hashlib.sha1(seed).digest())
        budget = CORPUS_BYTES_MAX.get(name, CORPUS_BYTES_MAX_OTHER)
        if shape in self.shapes or self.bytes.get(name, 0) + len(seed) > budget:
            return
        self.shapes.add(shape)
        self.bytes[name] = self.bytes.get(name, 0) + len(seed)
        folder = ROOT / "fuzz" / "corpus" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / hashlib.sha1(seed).hexdigest()[:16]).write_bytes(seed)


def harvest(tape, corpora):
    """Seeds of one connection; returns (DEPRECATE_EOF, [(command byte, reply)])."""
    stream = packets(tape)
    exchanges = []
    capabilities = None
    authenticated = False
    command, reply = None, b""
    for from_client, seq, payload, frame in stream:
        if not authenticated:
            if capabilities is None and not from_client:
                corpora.add("greeting", payload, shape=len(payload))
            elif capabilities is None and from_client:
                capabilities = int.from_bytes(payload[:4], "little")
                corpora.add("handshake_response", payload, shape=(capabilities, len(payload)))
            elif not from_client:
                if payload[:1] == b"\xfe":
                    corpora.add("auth_switch", payload, shape=len(payload))
                else:
                    corpora.add("response", payload)
                authenticated = payload[:1] == b"\x00"
            continue
        if from_client and seq == 0 and payload:
            if command is not None:
                exchanges.append((command, reply))
                command, reply = None, b""
            if payload[0] not in NO_REPLY:
                command = payload[0]
            if payload[0] in (0x03, 0x16):
                corpora.add("sql", payload[1:], shape=re.sub(rb"[0-9]+", b"0", payload[1:]))
            corpora.add("frame_tail", bytes([0, 5]) + frame, shape=(payload[0], len(payload) // 16))
        elif not from_client:
            reply += frame
            if payload[:1] in (b"\x00", b"\xfe", b"\xff") and len(payload) < 600:
                corpora.add("response", payload, shape=(payload[:3], len(payload) // 8))
            corpora.add("lenenc", payload[:64], shape=(payload[:1], len(payload) // 32))
    if command is not None:
        exchanges.append((command, reply))
    # A command without a reply was pipelined (or its client left): the replies that came later can't be told apart here.
    exchanges = [
        exchange
        for before, exchange in zip([(0, b"-")] + exchanges, exchanges)
        if exchange[1] and before[1]
    ]
    eof = 1 if (capabilities or 0) & DEPRECATE_EOF else 0
    for command, reply in exchanges:
        shape = (command, eof, re.sub(rb"[0-9a-v]+", b"0", reply))
        corpora.add("reply", bytes([EXPECT.get(command, 4), eof, 7]) + reply, shape=shape)
        if command == 0x03 and len(reply) > 16 and reply[4] not in (0x00, 0xFE, 0xFF, 0xFB):
            corpora.add("text_rows", bytes([eof]) + reply, shape=shape)
    return eof, exchanges


def record(name, eof, exchanges, forbidden):
    """`[DEPRECATE_EOF]`, then for each command: its byte, the reply's length (u32), the reply."""
    out = bytearray([eof])
    for command, reply in exchanges:
        if len(reply) > SEED_BYTES_MAX or any(word in reply for word in forbidden):
            continue
        if len(out) + 5 + len(reply) > RECORDED_BYTES_MAX:
            break
        out += struct.pack("<BI", command, len(reply)) + reply
    if len(out) > 600:
        folder = ROOT / "tests" / "recorded"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(out)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_dolt(dolt, home):
    port = free_port()
    (home / "data").mkdir()
    (home / "server.yaml").write_text(
        f"log_level: error\ndata_dir: {home}/data\nlistener:\n  host: 127.0.0.1\n  port: {port}\n  socket: {home}/dolt.sock\n"
    )
    environment = dict(os.environ, HOME=str(home), DOLT_ROOT_PATH=str(home))
    process = subprocess.Popen(
        [os.path.abspath(dolt), "sql-server", "--config", str(home / "server.yaml")],
        cwd=home / "data", env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return process, port
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit("capture-corpus: dolt does not listen; see its output above")
            time.sleep(0.05)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dolt", default=str(ROOT / ".tools" / "bin" / "dolt"))
    parser.add_argument("--shared", default="", help="directory of the clients' shared SQL (BL_SHARED)")
    parser.add_argument("--client", action="append", required=True, metavar="NAME=COMMAND")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        home = pathlib.Path(home)
        scratch = home / "scratch"
        scratch.mkdir()
        forbidden = [str(home).encode(), socket.gethostname().encode(), b"/root", b"/work", b"/home", b"/tmp", os.environ.get("USER", "\0").encode() + b"@"]
        process, port = start_dolt(arguments.dolt, home)
        try:
            corpora = Corpora(forbidden)
            for number, client in enumerate(arguments.client):
                name, command = client.split("=", 1)
                listener = socket.create_server(("127.0.0.1", 0))
                tapes = []
                threading.Thread(target=forward, args=(listener, port, tapes), daemon=True).start()
                environment = dict(
                    os.environ, BL_HOST="127.0.0.1", BL_PORT=str(listener.getsockname()[1]), BL_USER="root", BL_PASSWORD="",
                    BL_DATABASE=f"corpus{number}", BL_SCRATCH=str(scratch), BL_SHARED=arguments.shared,
                )
                try:
                    subprocess.run(command, shell=True, env=environment, timeout=CLIENT_SECONDS_MAX, stdout=subprocess.DEVNULL)
                except subprocess.TimeoutExpired:
                    print(f"capture-corpus: {name} took longer than {CLIENT_SECONDS_MAX} s; what it said so far is kept", file=sys.stderr)
                listener.close()
                longest = (0, [])
                for tape in tapes:
                    eof, exchanges = harvest(tape, corpora)
                    if len(exchanges) > len(longest[1]):
                        longest = (eof, exchanges)
                record(name, *longest, forbidden)
                print(f"{name}: {len(tapes)} connections, {len(longest[1])} commands on the longest", file=sys.stderr)
            for name, size in sorted(corpora.bytes.items()):
                print(f"{name}: {size} bytes", file=sys.stderr)
        finally:
            process.terminate()
            process.wait(30)


if __name__ == "__main__":
    main()
