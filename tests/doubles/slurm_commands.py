"""Stand-ins for Slurm's commands: `sbatch` runs every task of an array here, one after the other, and waits for it."""

import sys
from pathlib import Path

SBATCH = """
import os, re, subprocess, sys
from pathlib import Path

script = Path(sys.argv[-1]).read_text()
jobs = Path(os.environ["SLURM_JOBS"])
number = len(jobs.read_text().splitlines()) + 1 if jobs.exists() else 1
exports = dict(pair.split("=") for pair in re.findall(r"--export=ALL,(\\S+)", " ".join(sys.argv)))
depends = re.findall(r"--dependency=(\\S+)", " ".join(sys.argv))
array = re.search(r"#SBATCH --array=0-(\\d+)", script)
codes = []
for task in range(int(array[1]) + 1):
    told = {"SLURM_ARRAY_TASK_ID": str(task), "SLURM_NODELIST": "node1", "SLURM_JOB_ID": str(number)}
    env = os.environ | exports | told
    codes.append(subprocess.run(["bash", "-c", script], env=env, stdout=sys.stderr).returncode)
with jobs.open("a") as stream:
    stream.write(f"{number} {','.join(depends)} {codes}\\n")
print(f"Submitted batch job {number}")
"""
SRUN = """
import os, sys

command = sys.argv[1:]
while command[0].startswith("-"):
    command = command[2:] if command[0] == "-n" else command[1:]
os.execvp(command[0], command)
"""
SCONTROL = 'print("node1")'


def write_commands(folder: Path) -> Path:
    """Write `sbatch`, `srun` and `scontrol` into a folder for PATH; `sbatch` notes its jobs in `$SLURM_JOBS`."""
    folder.mkdir()
    for name, code in {"sbatch": SBATCH, "srun": SRUN, "scontrol": SCONTROL}.items():
        (folder / name).write_text(f"#!{sys.executable}\n{code.lstrip()}")
        (folder / name).chmod(0o755)
    return folder
