#!/usr/bin/env python3
"""What the live page holds in memory, and who waits how long, when it is used badly. Linux.

  benches/serve.py MODEL [--program midlayer] [--sweep]

A `midlayer serve` is started on MODEL and on an empty folder of runs. Then, one after the other: a
client, twenty at once, clients that are slow or say half of what they began, 200 hostile requests,
clients that vanish, and with --sweep a sweep into the folder. Printed for each: the memory at its
most and after it, in MB (resident), and the longest that an honest client waited, in seconds.
"""

import argparse
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

PROMPT = "The capital of France is Paris and the capital of Spain is Madrid , while the capital of Italy is"
PIECES = [
    b"GET ", b"POST ", b"/v1/try", b"/v1/runs/", b"/", b" HTTP/1.1\r\n", b" HTTP/9\r\n", b"Host: 127.0.0.1\r\n",
    b"Content-Length: 10\r\n", b"Content-Length: 99999999999999\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Content-Type: application/json\r\n", b"\r\n", b'{"prompt":', b'"\\ud800"', b'"abc"', b"}", b"[" * 4000,
    b"ffffffff\r\n", b"\0", b"\xff\xfe", b"a" * 20000, b',"layers":"0-4294967295+1"', b"Expect: 100-continue\r\n",
]  # fmt: skip


class Served:
    def __init__(self, program, model, folder):
        command = [program, "serve", str(folder), "-m", model, "--no-open", "--port", "0"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.port = int(self.process.stdout.readline().strip().rstrip("/").rsplit(":", 1)[1])

    def status(self, name):
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1]) / 1024
        raise SystemExit(f"the server is gone: it ended with {self.process.poll()}")

    def forget(self):
        """The most is counted from here on."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=120)

    def head(self, body, path="/v1/try"):
        host = f"Host: 127.0.0.1:{self.port}\r\nContent-Type: application/json\r\nConnection: close"
        return f"POST {path} HTTP/1.1\r\n{host}\r\nContent-Length: {len(body)}\r\n\r\n".encode()

    def ask(self, page, **what):
        """A status, and the seconds until the answer was complete. Busy is asked again."""
        body = json.dumps({"prompt": PROMPT, "manipulate": ["freeze"], "page": page, **what}).encode()
        began = time.monotonic()
        busy = 0
        while True:
            with self.connect() as to:
                to.sendall(self.head(body) + body)
                answer = b"".join(iter(lambda: to.recv(65536), b""))
            status = int(answer.split(b" ", 2)[1])
            if status != 429:
                done = b'"type":"done"' in answer[-200:]
                return (200 if done else -1) if status == 200 else status, time.monotonic() - began, busy
            busy += 1
            time.sleep(1)


def at_once(jobs):
    found = []
    threads = [threading.Thread(target=lambda job=job: found.append(job())) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def twenty(served):
    asked = [lambda n=n: served.ask(f"client {n}", prompt=PROMPT + " x" * (n % 5), layers="5,15,25") for n in range(20)]
    answers = [answer for _ in range(2) for answer in at_once(asked)]
    assert all(status == 200 for status, _, _ in answers), answers
    busy = sum(answer[2] for answer in answers)
    return max(answer[1] for answer in answers), f"40 answers, {busy} times told to come again"


def slow(served):
    """Twenty heads and bodies that do not end, ten clients that read nothing of long answers."""
    body = json.dumps({"prompt": PROMPT}).encode()
    long = json.dumps({"prompt": PROMPT, "manipulate": ["random"], "layers": "0-29+3"}).encode()
    held = []
    for n in range(30):
        to = served.connect()
        to.sendall([b"POST /v1/try HT", served.head(body) + body[:9], served.head(long) + long][n % 3])
        held.append(to)
    answers = [served.ask(f"honest {n}", layers="15") for n in range(3)]
    assert all(answer[0] == 200 for answer in answers), answers
    for to in held:
        to.close()
    return max(answer[1] for answer in answers), "30 held, 3 honest ones answered beside them"


def hostile(served):
    numbers = random.Random(1)
    said = {}
    for _ in range(200):
        begin = b"POST /v1/try HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        sent = begin * numbers.randrange(2) + b"".join(numbers.choices(PIECES, k=numbers.randrange(14)))
        with served.connect() as to:
            try:
                to.sendall(sent)
                to.shutdown(socket.SHUT_WR)
                answer = to.recv(64)
            except OSError:
                answer = b""
        status = answer.split(b" ")[1].decode() if answer.startswith(b"HTTP") else "nothing"
        said[status] = said.get(status, 0) + 1
    answer = served.ask("honest")
    assert answer[0] == 200, answer
    return answer[1], ", ".join(f"{count} x {status}" for status, count in sorted(said.items()))


def vanish(served):
    long = json.dumps({"prompt": PROMPT * 8, "manipulate": ["random"] * 8}).encode()
    waits = []
    for _ in range(10):
        with served.connect() as to:
            to.sendall(served.head(long) + long)
            to.recv(64)
        status, seconds, _ = served.ask("honest", layers="15")
        assert status == 200, status
        waits.append(seconds)
    return max(waits), "10 times: gone after the first line, then one layer is asked for"


def beside(served, program, model, folder):
    command = [program, "sweep", "-m", model, "--task", "capitals", "--manipulate", "freeze,inject"]
    command += ["--layers", "0-29+6", "--limit", "20", "--no-selftest", "--out", str(folder / "one")]
    waits, listed = [], 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as sweep:
        while sweep.poll() is None:
            with served.connect() as to:
                to.sendall(f"GET /v1/runs HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\nConnection: close\r\n\r\n".encode())
                answer = b"".join(iter(lambda: to.recv(65536), b""))
            listed += b"200 OK" in answer[:20]
            waits.append(served.ask("honest", layers="15")[1])
            time.sleep(1)
    assert sweep.returncode == 0, "the sweep failed"
    return max(waits), f"{len(waits)} answers, {listed} lists of runs; the sweep ends well"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--program", default="midlayer")
    parser.add_argument("--sweep", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        served = Served(args.program, args.model, folder)
        try:
            print("| what | most, MB | after it, MB | longest wait, s | |\n| --- | --- | --- | --- | --- |")
            steps = [("one client, all layers", lambda: (served.ask("one")[1], "the model's loading included"))]
            steps += [("the same again, five times", lambda: (max(served.ask("one")[1] for _ in range(5)), ""))]
            steps += [("twenty clients at once", lambda: twenty(served)), ("slow and half-open ones", lambda: slow(served))]
            steps += [("200 hostile requests", lambda: hostile(served)), ("clients that vanish", lambda: vanish(served))]
            if args.sweep:
                steps.append(("a sweep beside it", lambda: beside(served, args.program, args.model, Path(folder))))
            for name, step in steps:
                served.forget()
                wait, said = step()
                print(f"| {name} | {served.status('VmHWM'):.0f} | {served.status('VmRSS'):.0f} | {wait:.2f} | {said} |", flush=True)
            files = len(os.listdir(f"/proc/{served.process.pid}/fd"))
            print(f"\n{files} files are open and {served.status('Threads') * 1024:.0f} threads live at the end.")
        finally:
            served.process.kill()
            served.process.wait()


if __name__ == "__main__":
    sys.exit(main())
