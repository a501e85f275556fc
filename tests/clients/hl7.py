#!/usr/bin/env python3
"""Sends HL7 v2 messages, built and read by hl7apy, over MLLP. `hl7.py HOST:PORT`, one JSON object a line on standard input:

  {"kind": "ORU_R01", "version": "2.5.1", "id": "1", "type": "application", "subtype": "pdf", "data": "...", "modes": ["AL", "AL"],
   "answers": 2}

and one a line on standard output: the acknowledgements, each held against the standard's own structure.
"""

import json
import socket
import sys

from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.core import Message
from hl7apy.parser import parse_message


def build(order):
    kind, version = order["kind"], order["version"]
    message = Message(kind, version=version)
    message.msh.msh_3, message.msh.msh_4 = "CART", "WARD"
    message.msh.msh_5, message.msh.msh_6 = "LEADLINE", "HUB"
    message.msh.msh_7 = "20260101120000"
    message.msh.msh_9 = kind.replace("_", "^")
    message.msh.msh_10, message.msh.msh_11 = order["id"], "P"
    for field, mode in zip(("msh_15", "msh_16"), order.get("modes", [])):
        setattr(message.msh, field, mode)
    text = message.to_er7()
    # Groups differ between versions; the segments that matter are written as the standard prints them.
    lines = ["PID|1||4711^^^HOSPITAL^MR||Doe^John"]
    if kind.startswith("MDM"):
        lines += ["PV1|1|O", "TXA|1|CN|AP|20260101120000||||||||DOC-1|||||AU"]
        lines[:0] = ["EVN|T02|20260101120000"]
    else:
        lines += ["OBR|1||F-1|93000^ECG^CPT|||20260101120000||||||||||||||||||F"]
    lines += [f"OBX|1|ED|11524-6^EKG study^LN||CART^{order['type']}^{order['subtype']}^Base64^{order['data']}||||||F"]
    return text.rstrip("\r") + "\r" + "\r".join(lines) + "\r"


def receive(stream, buffered):
    while b"\x1c\r" not in buffered:
        piece = stream.recv(65536)
        if not piece:
            raise SystemExit("closed without an answer")
        buffered += piece
    frame, rest = buffered.split(b"\x1c\r", 1)
    assert frame[:1] == b"\x0b", frame[:10]
    return frame[1:].decode(), rest


def read(text):
    version = text.split("\r")[0].split("|")[11]
    # hl7apy knows no structure name for an acknowledgement of 2.3; there it is held to the segments.
    message = parse_message(text, validation_level=VALIDATION_LEVEL.STRICT if version >= "2.5.1" else None)
    children = [child.name for child in message.children]
    error = message.err.err_3.err_3_1.to_er7() if "ERR" in children and version >= "2.5" else ""
    return {
        "segments": children,
        "code": message.msa.msa_1.to_er7(),
        "id": message.msa.msa_2.to_er7(),
        "text": message.msa.msa_3.to_er7() if len(message.msa.children) > 2 else "",
        "to": [message.msh.msh_5.to_er7(), message.msh.msh_6.to_er7()],
        "error": error,
        "version": version,
    }


def main():
    host, port = sys.argv[1].rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=30) as stream:
        rest = b""
        for line in sys.stdin:
            order = json.loads(line)
            stream.sendall(b"\x0b" + build(order).encode() + b"\x1c\r")
            answers = []
            for _ in range(order.get("answers", 1)):
                text, rest = receive(stream, rest)
                answers.append(read(text))
            print(json.dumps(answers), flush=True)


main()
