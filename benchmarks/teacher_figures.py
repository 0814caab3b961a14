"""Put what the teacher's benchmarks measured into docs/teacher.md.

python -m benchmarks.teacher_figures            # from benchmarks/results into docs/teacher.md
python -m benchmarks.teacher_figures --check    # does docs/teacher.md say what benchmarks/results holds?
"""

from benchmarks.figures_page import FiguresPage

# In the table's order; the other clients' figures are facts of an earlier occasion, measured on a machine that was
# busier than ours. Their CPU compares; their rows a second are the least that they can do.
PEERS = {
    "cpu": "curator 1.45, datatrove with checkpoints 2.1, Data Designer 3.3",
    "cpu_pipeline": "",
    "throughput": "curator 76 %, Data Designer 18 %",
    "defaults": "Data Designer 18 rows/s",
    "defaults_told": "",
    "kill": "95 to 524 re-asked after one kill; distilabel hangs",
    "changed": "curator asks 301 of 301 for one added; DataDreamer and Data Designer 1",
    "changed_best": "",
    "changed_useless": "",
    "changed_phrase": "",
    "scattered": "curator 6.9 s, Data Designer 82.6 s",
    "scattered_defaults": "",
    "full": "curator 8.1 s, 115 wasted",
    "full_defaults": "",
    "memory": "",
    "memory_gate": "",
    "memory_pipeline": "",
    "leaks": "",
}
CIRCUMSTANCES = (
    "The server is `benchmarks/loopback_server.py`, in a process of its own on the same cores; its counters are what "
    "is reported. The others' figures were measured on another occasion, with the same kind of server on two cores."
)
PAGE = FiguresPage("teacher", "docs/teacher.md", PEERS, CIRCUMSTANCES)

if __name__ == "__main__":
    PAGE.main()
