#!/usr/bin/env python3
"""Find, check and pack the data. Written in full below in a moment."""
import sys
from pathlib import Path
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import argparse, time
from fer import paths
from fer.data import SOURCES, guess_source, save, load
from fer.errors import FerError

def main(argv=None) -> int:
    p = argparse.ArgumentParser(); p.add_argument("path"); a = p.parse_args(argv)
    try:
        d = SOURCES[guess_source(a.path)].read(a.path)
        out = save(d, paths.data_dir() / f"{d.name}.npz")
    except FerError as e:
        print(f"error: {e}", file=sys.stderr); return 2
    print(out, d.fingerprint)
    return 0
if __name__ == "__main__":
    sys.exit(main())
