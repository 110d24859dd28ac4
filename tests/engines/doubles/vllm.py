"""A stand-in for the program `vllm` of vLLM-Omni 0.30: the loopback server of the tests, behind its command line.

Environment variables of the test tell it what to do besides:

    VLLM_LOG      file to which each start appends its process, arguments and GPU
    VLLM_VERSION  what `--version` prints
    VLLM_MODE     "broken": says why and exits; "loading": is never ready; "dies": the first that is asked after a job
                  is killed outright, those after it behave
"""

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path

from loopback_video_server import Handler, Server, running


def main():
    """Serve until told to end."""
    if sys.argv[1:] == ["--version"]:
        print(os.environ.get("VLLM_VERSION", "0.30.0"))
        return
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("verb", choices=["serve"])
    parser.add_argument("model")
    for flag in ("omni", "no-guardrails", "enable-layerwise-offload"):
        parser.add_argument(f"--{flag}", action="store_true")
    for name in ("host", "port", "revision", "init-timeout", "quantization"):
        parser.add_argument(f"--{name}")
    args = parser.parse_args()
    mode, log = os.environ.get("VLLM_MODE", ""), Path(os.environ["VLLM_LOG"])
    with log.open("a") as lines:
        about = {"process": os.getpid(), "gpu": os.environ["CUDA_VISIBLE_DEVICES"], **vars(args)}
        lines.write(json.dumps(about) + "\n")
    if mode == "broken":
        sys.exit("the driver is too old for this build")
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    if mode == "dies" and len(log.read_text().splitlines()) == 1:
        Handler.job = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    folder = log.parent / f"served-{os.getpid()}"
    loading = 10**9 if mode == "loading" else 1
    with running(Server(folder, args.model, loading=loading, port=int(args.port))):
        while True:
            time.sleep(1)


main()
