"""Runs a command on a terminal and answers its question: terminal.py ANSWER COMMAND…

With the answer `-` it prints a line to standard error as soon as it is asked, and waits for the answer on standard input.
"""

import os
import pty
import sys

answer, command = sys.argv[1], sys.argv[2:]
process, terminal = pty.fork()
if process == 0:
    os.execv(command[0], command)
told = b""
asked = False
while True:
    try:
        read = os.read(terminal, 65536)
    except OSError:
        # Linux answers so where nobody has the terminal any more.
        break
    if not read:
        break
    told += read
    if not asked and told.endswith(b"[y/N] "):
        asked = True
        if answer == "-":
            print("asked", file=sys.stderr, flush=True)
            answer = sys.stdin.readline().strip()
        os.write(terminal, answer.encode() + b"\n")
sys.stdout.buffer.write(told)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
