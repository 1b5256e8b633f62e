#!/usr/bin/env python3
"""What runs of many results take: merge, report, export and runs, in seconds and megabytes.

  benches/results.py RUN PLACE [--program midlayer] [--rows 10000,...] [--parts N] [--chart FILE.svg]

RUN is a finished run of one model, as runs/demo. Its items are repeated under other names and laid
out in parts, as the tasks of an array leave them, in a folder of PLACE for each number of results.
No model computes anything. PLACE needs about half a kilobyte for each result.
"""

import argparse
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path


def make(run: Path, out: Path, rows: int, parts: int) -> int:
    """Lays a run of at least `rows` results out in at most `parts` parts; gives their number."""
    bare = out / "bare.sqlite"
    out.mkdir(parents=True)
    with sqlite3.connect(run / "results.sqlite") as db:
        db.execute("VACUUM INTO ?", (str(bare),))
    with sqlite3.connect(bare) as db:
        (there,) = db.execute("SELECT count(*) FROM results").fetchone()
        (last,) = db.execute("SELECT max(item) FROM items").fetchone()
        (items,) = db.execute("SELECT count(*) FROM items").fetchone()
        copies = -(-rows // there)
        for key, one in (("items", items), ("results", there)):
            put = "UPDATE meta SET value = ? WHERE key LIKE ?"
            db.execute(put, (str(one * copies), f"{key}/0/%"))
        db.execute("INSERT OR REPLACE INTO meta SELECT 'whole', value FROM meta WHERE key = 'command'")
        columns = {
            table: [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
            for table in ("items", "results")
        }
        db.execute("DELETE FROM results")
        db.execute("DELETE FROM items")
    with sqlite3.connect(bare, isolation_level=None) as db:
        db.execute("VACUUM")
    parts = min(parts, copies)
    for part in range(1, parts + 1):
        folder = out / "shards" / f"{part}-of-{parts}"
        folder.mkdir(parents=True)
        shutil.copy(bare, folder / "results.sqlite")
        mine = range(part - 1, copies, parts)
        with sqlite3.connect(folder / "results.sqlite") as db:
            db.execute("ATTACH ? AS run", (str(run / "results.sqlite"),))
            note = {"number": part, "count": parts, "results": there * len(mine)}
            db.execute("INSERT OR REPLACE INTO meta VALUES ('shard', ?)", (json.dumps(note),))
            for copy in mine:
                for table, names in columns.items():
                    changed = {"item": f"item + {copy * last}", "name": f"name || '~{copy}'"}
                    values = ", ".join(changed.get(name, name) for name in names)
                    db.execute(f"INSERT INTO main.{table} SELECT {values} FROM run.{table}")
            db.commit()
    bare.unlink()
    return there * copies


def timed(command: list[str], log: Path) -> tuple[float, float, float]:
    """Seconds by the clock, seconds of processors, and the peak of memory in MB."""
    with log.open("a") as said:
        begun = time.monotonic()
        process = subprocess.Popen(command, stdout=said, stderr=said)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    # Linux counts kilobytes, macOS bytes.
    unit = 1e6 if sys.platform == "darwin" else 1e3
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed; see {log}")
    return time.monotonic() - begun, used.ru_utime + used.ru_stime, used.ru_maxrss / unit


def chart(measured: dict[str, list[tuple[int, float, float]]], path: Path) -> None:
    """Seconds, and megabytes, against results; both axes logarithmic."""
    from math import log10

    colours = {"merge": "#0072b2", "report": "#d55e00", "export": "#009e73", "runs": "#cc79a7"}
    panels = [("seconds", 1, -2, 3), ("peak of memory, MB", 2, 1, 4)]
    svg = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1000 380" font-family="sans-serif" font-size="13">']
    svg.append('<rect width="1000" height="380" fill="white"/>')
    for n, (title, column, low, high) in enumerate(panels):
        left, top, width, height = 70 + 500 * n, 40, 400, 280
        x = lambda rows: left + (log10(rows) - 4) / 3.2 * width
        y = lambda value: top + height - (log10(value) - low) / (high - low) * height
        svg.append(f'<text x="{left}" y="24">{title}</text>')
        for power in range(low, high + 1):
            at = y(10**power)
            svg.append(f'<path d="M{left} {at:.1f}h{width}" stroke="#ddd"/>')
            svg.append(f'<text x="{left - 8}" y="{at + 4:.1f}" text-anchor="end">{10.0**power:g}</text>')
        for power, text in zip(range(4, 8), ("10 thousand", "100 thousand", "1 million", "10 million")):
            at = x(10**power)
            svg.append(f'<path d="M{at:.1f} {top}v{height}" stroke="#ddd"/>')
            svg.append(f'<text x="{at:.1f}" y="{top + height + 20}" text-anchor="middle">{text}</text>')
        svg.append(f'<text x="{left + width / 2}" y="{top + height + 44}" text-anchor="middle">results</text>')
        for k, (name, points) in enumerate(measured.items()):
            line = " ".join(f"{x(p[0]):.1f},{y(max(p[column], 10.0**low)):.1f}" for p in points)
            svg.append(f'<polyline points="{line}" fill="none" stroke="{colours[name]}" stroke-width="2"/>')
            for p in points:
                svg.append(f'<circle cx="{x(p[0]):.1f}" cy="{y(max(p[column], 10.0**low)):.1f}" r="3" fill="{colours[name]}"/>')
            svg.append(f'<text x="{left + 12}" y="{top + 18 + 18 * k}" fill="{colours[name]}">{name}</text>')
    svg.append("</svg>")
    path.write_text("\n".join(svg) + "\n")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("run", type=Path)
    arguments.add_argument("place", type=Path)
    arguments.add_argument("--program", default="midlayer")
    arguments.add_argument("--rows", default="10000,100000,1000000,10000000")
    arguments.add_argument("--parts", type=int, default=512)
    arguments.add_argument("--chart", type=Path)
    asked = arguments.parse_args()
    measured: dict[str, list[tuple[int, float, float]]] = {name: [] for name in ("merge", "report", "export", "runs")}
    print("| results | parts, MB | | clock, s | processors, s | memory, MB | made, MB |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for wanted in map(int, asked.rows.split(",")):
        out = asked.place / str(wanted)
        shutil.rmtree(out, ignore_errors=True)
        # In a process of its own: what is measured is begun by this one, and would count its memory.
        with ProcessPoolExecutor(1) as other:
            rows = other.submit(make, asked.run, out, wanted, asked.parts).result()
        parts = sum(file.stat().st_size for file in out.glob("shards/*/results.sqlite")) / 1e6
        table = out / "rows.parquet"
        commands = {
            "merge": (["merge", str(out)], out / "results.sqlite"),
            "report": (["report", str(out)], out / "report.html"),
            "export": (["export", str(out), "--out", str(table)], table),
            "runs": (["runs", str(asked.place)], None),
        }
        for name, (command, made) in commands.items():
            clock, processors, memory = timed([asked.program, *command], out / "log.txt")
            measured[name].append((rows, clock, memory))
            size = f"{made.stat().st_size / 1e6:.1f}" if made else ""
            print(f"| {rows:,} | {parts:.0f} | `{name}` | {clock:.1f} | {processors:.1f} | {memory:.0f} | {size} |", flush=True)
    if asked.chart:
        chart(measured, asked.chart)


if __name__ == "__main__":
    main()
