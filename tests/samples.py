"""Files of many kinds, all made in code: small, lawful, and the same at every call."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import pickle
import random
import sqlite3
import struct
import sys
import tarfile
import wave
import zipfile
import zlib
from pathlib import Path

import numpy as np

_PROSE = (
    "The gateway keeps a permit for each request until its answer has left. A request that cannot "
    "be served in time is turned away at the door, which is kinder than a late answer.\n"
)
_TEXTS: dict[str, str] = {
    "python": "import os\nfrom pathlib import Path\n\n\nclass Reader:\n    def __init__(self, p):\n"
    "        self.path = Path(p)\n\n    def lines(self):\n        with self.path.open() as f:\n"
    "            yield from f\n\n\nif __name__ == '__main__':\n    print(os.getcwd())\n",
    "xml": '<?xml version="1.0" encoding="UTF-8"?>\n<parcels><parcel id="1"><to>Paris</to></parcel>'
    '<parcel id="2"><to>Valletta</to></parcel></parcels>\n',
    "html": "<!DOCTYPE html>\n<html lang='en'>\n<head><meta charset='utf-8'><title>Lupine</title>"
    "</head>\n<body><h1>Models</h1><ul><li>digits</li></ul></body>\n</html>\n",
    "svg": '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><circle cx="4" cy="4" '
    'r="3" fill="#639"/></svg>\n',
    "markdown": "# Lupine\n\nA *gateway* for models.\n\n## Use\n\n- start it\n- ask it\n\n"
    "```sh\nmake serve\n```\n\nSee [the docs](docs/index.md).\n",
    "toml": '[project]\nname = "lupine"\nversion = "0.1.0"\ndependencies = ["numpy>=2"]\n\n'
    "[tool.ruff]\nline-length = 100\n",
    "yaml": "apiVersion: v1\nkind: Service\nmetadata:\n  name: lupine\nspec:\n  ports:\n"
    "    - port: 3000\n      targetPort: 3000\n",
    "ini": "[server]\nhost = 127.0.0.1\nport = 3000\n\n[log]\nlevel = info\n; a comment\n",
    "shell": '#!/usr/bin/env bash\nset -euo pipefail\nfor f in "$@"; do\n  if [ -f "$f" ]; then\n'
    '    echo "found $f"\n  fi\ndone\n',
    "batch": "@echo off\r\nsetlocal\r\nfor %%f in (*.txt) do (\r\n  echo %%f\r\n)\r\nendlocal\r\n",
    "powershell": "param([string]$Path)\nGet-ChildItem -Path $Path | Where-Object { $_.Length -gt "
    "1MB } | ForEach-Object { Write-Host $_.FullName }\n",
    "c": "#include <stdio.h>\n#include <stdlib.h>\n\nint main(int argc, char **argv) {\n"
    '    for (int i = 0; i < argc; i++) {\n        printf("%s\\n", argv[i]);\n    }\n'
    "    return EXIT_SUCCESS;\n}\n",
    "cpp": "#include <iostream>\n#include <vector>\n\ntemplate <typename T>\nT sum(const "
    "std::vector<T>& v) {\n  T s{};\n  for (const auto& x : v) s += x;\n  return s;\n}\n\n"
    "int main() { std::cout << sum<int>({1, 2}) << std::endl; }\n",
    "java": "package org.example;\n\nimport java.util.List;\n\npublic class Main {\n    public "
    'static void main(String[] args) {\n        System.out.println(List.of("a", "b"));\n    }\n}\n',
    "javascript": "const http = require('http');\n\nfunction handler(req, res) {\n  res.end("
    "JSON.stringify({ ok: true }));\n}\n\nmodule.exports = { handler };\n"
    "http.createServer(handler).listen(8080);\n",
    "typescript": "interface Parcel {\n  id: number;\n  to: string;\n}\n\nexport function heavy(p: "
    "Parcel[], limit: number): Parcel[] {\n  return p.filter((x: Parcel) => x.id > limit);\n}\n",
    "css": "body { margin: 0; font-family: sans-serif; }\n.card:hover { color: #639; padding: 4px }"
    "\n@media (max-width: 600px) { .card { display: none; } }\n",
    "go": 'package main\n\nimport (\n\t"fmt"\n\t"os"\n)\n\nfunc main() {\n\tfor i, a := range '
    "os.Args {\n\t\tfmt.Println(i, a)\n\t}\n}\n",
    "rust": "use std::collections::HashMap;\n\npub fn count(words: &[&str]) -> HashMap<String, "
    "usize> {\n    let mut m = HashMap::new();\n    for w in words {\n        *m.entry("
    "w.to_string()).or_insert(0) += 1;\n    }\n    m\n}\n",
    "ruby": "require 'json'\n\nclass Parcel\n  attr_reader :to\n\n  def initialize(to)\n    @to = "
    "to\n  end\nend\n\nputs Parcel.new('Paris').to\n",
    "php": "<?php\nnamespace App;\n\nclass Parcel {\n    public function __construct(private "
    "string $to) {}\n}\n\necho (new Parcel('Paris'))->to;\n",
    "lua": "local M = {}\n\nfunction M.sum(t)\n  local s = 0\n  for _, v in ipairs(t) do\n"
    "    s = s + v\n  end\n  return s\nend\n\nreturn M\n",
    "sql": "CREATE TABLE parcels (id INTEGER PRIMARY KEY, destination TEXT NOT NULL);\n"
    "INSERT INTO parcels VALUES (1, 'Paris');\nSELECT * FROM parcels WHERE id = 1;\n",
    "diff": "diff --git a/a.txt b/a.txt\nindex 83db48f..bf269f4 100644\n--- a/a.txt\n+++ b/a.txt\n"
    "@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n",
    "makefile": ".PHONY: all clean\n\nall: a.o\n\t$(CC) -o main $^\n\n%.o: %.c\n\t$(CC) -c $<\n\n"
    "clean:\n\trm -f *.o main\n",
    "dockerfile": "FROM python:3.11-slim\nWORKDIR /app\nCOPY . .\nRUN pip install --no-cache .\n"
    'EXPOSE 3000\nCMD ["lupine", "serve"]\n',
    "latex": "\\documentclass{article}\n\\usepackage{amsmath}\n\\begin{document}\n\\section{Load}\n"
    "By Little's law, $L = \\lambda W$.\n\\end{document}\n",
    "rtf": "{\\rtf1\\ansi\\deff0{\\fonttbl{\\f0 Arial;}}\n\\f0\\fs24 Hello \\b world\\b0.\\par\n}",
    "eml": "From: a@example.org\r\nTo: b@example.org\r\nSubject: Parcels\r\nDate: Mon, 3 Mar 2025 "
    "10:00:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\nIt has arrived.\r\n",
    "ics": "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nDTSTART:20250303T100000Z\r\nSUMMARY:"
    "Release\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n",
    "srt": "1\n00:00:01,000 --> 00:00:03,000\nGood morning.\n\n2\n00:00:04,000 --> 00:00:06,000\n"
    "The parcel is here.\n",
    "proto": 'syntax = "proto3";\n\npackage parcels;\n\nmessage Parcel {\n  int64 id = 1;\n  '
    "string destination = 2;\n}\n",
    "prose": _PROSE,
    "long prose": _PROSE * 200,
    "long prose, indented far": " " * 5_000 + _PROSE * 80 + "\n" * 5_000,
    "little after much space": " \n" * 3_000 + "end",
    "a few letters": "hello",
    "whitespace only": " \t\r\n" * 50,
    "eight spaces": " " * 8,
    "beyond ASCII": "Straße nach Österreich, čtvrtek; 東京の天気は晴れです。Привет, мир!\n" * 8,
}


def sample_files() -> dict[str, bytes]:
    """Files by the name of their kind; what they were made as, no claim on Magika."""
    rng = random.Random(5)  # noqa: S311 - noise, not secrets
    noise = rng.randbytes(6_000)
    return {
        **{kind: text.encode() for kind, text in _TEXTS.items()},
        **_images(),
        **_archives(),
        "json": json.dumps({"a": [1, 2.5, None, True], "b": {"c": "d"}}, indent=2).encode(),
        "jsonl": b"".join(json.dumps({"id": i, "to": "Paris"}).encode() + b"\n" for i in range(9)),
        "csv": _table(","),
        "tsv": _table("\t"),
        "pdf": _pdf(),
        "elf": Path(sys.executable).read_bytes()[:16_384],
        "sqlite": _sqlite(),
        "wav": _wav(),
        "numpy": _npy(),
        "pickle": pickle.dumps({"weights": [0.5] * 40, "name": "digits"}, protocol=4),
        "java class": b"\xca\xfe\xba\xbe\x00\x00\x00\x34\x00\x1d\x0a\x00\x06\x00\x0f\x09\x00\x10"
        b"\x00\x11\x08\x00\x12\x0a\x00\x13\x00\x14\x07\x00\x15\x07\x00\x16\x01\x00\x06<init>\x01\x00"
        b"\x03()V\x01\x00\x04Code\x01\x00\x0fLineNumberTable\x01\x00\x04main",
        "wasm": b"\x00asm\x01\x00\x00\x00\x01\x07\x01\x60\x02\x7f\x7f\x01\x7f\x03\x02\x01\x00\x07"
        b"\x07\x01\x03add\x00\x00\x0a\x09\x01\x07\x00\x20\x00\x20\x01\x6a\x0b",
        "utf-16 text": (_PROSE * 3).encode("utf-16"),
        "latin-1 text": ("Größe, Höhe und Länge; déjà vu.\n" * 12).encode("latin-1"),
        "random bytes": noise,
        "three random bytes": noise[:3],
        "empty": b"",
        "one byte": b"x",
        "one byte that is no text": b"\xff",
        "zeros": bytes(5_000),
        "character cut at the block's end": b" " * 4_095 + "é".encode() + b" " * 100,
    }


def _images() -> dict[str, bytes]:
    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    pixels = b"".join(b"\x00" + bytes((16 * y, 255 - 16 * y, 99)) * 16 for y in range(16))
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 16, 16, 8, 2, 0, 0, 0))
    png += chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")
    gif = (
        b"GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\xff\xff\x00\x00\x00!\xf9\x04\x01\x00\x00\x00\x00,"
    )
    gif += b"\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
    rows = bytes(range(192)) * 4
    bmp = struct.pack("<2sIHHI", b"BM", 54 + len(rows), 0, 0, 54)
    bmp += struct.pack("<IiiHHIIiiII", 40, 16, 16, 1, 24, 0, len(rows), 2835, 2835, 0, 0) + rows
    return {"png": png, "gif": gif, "bmp": bmp}


def _archives() -> dict[str, bytes]:
    text = (_PROSE * 20).encode()
    zipped, tarred = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("prose.txt"), text)
        archive.writestr(zipfile.ZipInfo("notes/more.txt"), text[:500])
    with tarfile.open(fileobj=tarred, mode="w") as archive:
        entry = tarfile.TarInfo("prose.txt")
        entry.size = len(text)
        archive.addfile(entry, io.BytesIO(text))
    return {
        "zip": zipped.getvalue(),
        "tar": tarred.getvalue(),
        "gzip": gzip.compress(text, mtime=0),
        "bzip2": bz2.compress(text),
        "xz": lzma.compress(text),
        "zlib": zlib.compress(text),
    }


def _table(delimiter: str) -> bytes:
    out = io.StringIO()
    rows = [("id", "destination", "weight_kg"), *((i, "Paris", i / 4) for i in range(40))]
    csv.writer(out, delimiter=delimiter).writerows(rows)
    return out.getvalue().encode()


def _pdf() -> bytes:
    return (
        b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n2 0 obj\n<< /Type /Pages "
        b"/Kids [3 0 R] /Count 1 >>\nendobj\n3 0 obj\n<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9"
        b" 9] >>\nendobj\nxref\n0 4\n0000000000 65535 f \ntrailer\n<< /Size 4 /Root 1 0 R >>\nstart"
        b"xref\n178\n%%EOF\n"
    )


def _sqlite() -> bytes:
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute("CREATE TABLE parcels (id INTEGER PRIMARY KEY, destination TEXT)")
        connection.executemany(
            "INSERT INTO parcels VALUES (?, ?)", [(i, "Paris") for i in range(50)]
        )
        connection.commit()
        return connection.serialize()
    finally:
        connection.close()


def _wav() -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8_000)
        sound.writeframes(b"".join(struct.pack("<h", (i * 997) % 20_000) for i in range(2_000)))
    return out.getvalue()


def _npy() -> bytes:
    out = io.BytesIO()
    np.save(out, np.arange(600, dtype=np.float32).reshape(20, 30))
    return out.getvalue()
