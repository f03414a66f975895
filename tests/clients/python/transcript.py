"""Owns the form of a transcript: `section.name: JSON`, one line per observation, `checks: N` last.

Does not know any driver. Always: nothing that depends on the machine, the port or the moment is written;
the database's name and the scratch directory are masked, because they differ between two runs.
"""

import datetime
import decimal
import hashlib
import json
import os
import re
import sys


class Server:
    """Where the server is, from the environment that the runner sets."""

    host = os.environ["BL_HOST"]
    port = int(os.environ["BL_PORT"])
    socket = os.environ.get("BL_SOCKET")
    user = os.environ["BL_USER"]
    password = os.environ["BL_PASSWORD"]
    database = os.environ["BL_DATABASE"]
    shared = os.environ["BL_SHARED"]
    scratch = os.environ["BL_SCRATCH"]


def shared(name):
    """The statements of a shared file, one a line."""
    with open(os.path.join(Server.shared, name), encoding="utf-8") as file:
        return [line.rstrip("\n") for line in file if line.strip()]


def scratch(name, content):
    """Writes a file into the scratch directory and returns its path."""
    path = os.path.join(Server.scratch, name)
    with open(path, "wb") as file:
        file.write(content)
    return path


def mask(text):
    return text.replace(Server.scratch, "<scratch>").replace(Server.database, "<db>")


def mask_hashes(text):
    """Dolt's commit hashes: 32 digits of base 32."""
    return re.sub(r"\b[0-9a-v]{32}\b", "<hash>", str(text))


def plain(value):
    """A value as JSON can show it, without losing what type it was."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return {"float": repr(value)}
    if isinstance(value, decimal.Decimal):
        return {"decimal": str(value)}
    if isinstance(value, (bytes, bytearray, memoryview)):
        data = bytes(value)
        return {"bytes": data.hex()} if len(data) <= 256 else {"sha1": digest(data), "length": len(data)}
    if isinstance(value, datetime.datetime):
        return {"datetime": str(value)}
    if isinstance(value, datetime.date):
        return {"date": str(value)}
    if isinstance(value, datetime.timedelta):
        return {"time_us": value // datetime.timedelta(microseconds=1)}
    if isinstance(value, (set, frozenset)):
        return {"set": sorted(plain(item) for item in value)}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return {type(value).__name__: str(value)}


def digest(data):
    return hashlib.sha1(data).hexdigest()


class Transcript:
    """Writes observations and counts them."""

    def __init__(self):
        self.checks = 0
        self.section_name = ""

    def section(self, name):
        self.section_name = name

    def say(self, name, value):
        self.checks += 1
        text = json.dumps(plain(value), ensure_ascii=False, sort_keys=True)
        print(mask(f"{self.section_name}.{name}: {text}"), flush=True)

    def not_offered(self, what):
        print(f"not offered by this client: {self.section_name}.{what}", flush=True)

    def attempt(self, name, action):
        """Says what `action` returns, or the error that it raises."""
        try:
            value = action()
        except Exception as error:  # every driver has its own tree of exceptions
            value = {"error": describe(error)}
        self.say(name, value)

    def end(self):
        print(f"checks: {self.checks}")
        sys.stdout.flush()


def describe(error):
    """Class, code, SQLSTATE and message of a driver's exception."""
    found = {"class": type(error).__name__}
    if getattr(error, "errno", None) is not None:
        found["code"] = error.errno
        found["sqlstate"] = getattr(error, "sqlstate", None)
        found["message"] = getattr(error, "msg", str(error))
    elif error.args and isinstance(error.args[0], int):
        found["code"] = error.args[0]
        found["message"] = str(error.args[1]) if len(error.args) > 1 else ""
    else:
        found["message"] = str(error)
    return found


WORDS = ["naïve", "日本語", "🐬🚀", "é", "Ωmega", "", "a\u0300"]
MIB = 1024 * 1024


def big_value():
    """20 MiB that look like nothing else and cross the 16 MiB packet."""
    block = hashlib.sha512(b"branchline").digest() * 16
    return (block * (20 * MIB // len(block) + 1))[: 20 * MIB]
