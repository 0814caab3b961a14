"""Put what the teacher's benchmarks measured into docs/teacher.md.

python -m benchmarks.teacher_figures            # from benchmarks/results into docs/teacher.md
python -m benchmarks.teacher_figures --check    # does docs/teacher.md say what benchmarks/results holds?
"""

from benchmarks.figures_page import FiguresPage

KEYS = (
    *("cpu", "cpu_pipeline", "throughput", "defaults", "defaults_told", "kill"),
    *("changed", "changed_best", "changed_useless", "changed_phrase"),
    *("scattered", "scattered_defaults", "full", "full_defaults"),
    *("memory", "memory_gate", "memory_pipeline", "leaks"),
)
CIRCUMSTANCES = (
    "The server is `benchmarks/loopback_server.py`, in a process of its own on the same cores; its counters are what "
    "is reported. Other clients, measured beside this one, are on [a page of their own](clients.md)."
)
PAGE = FiguresPage("teacher", "docs/teacher.md", KEYS, CIRCUMSTANCES)

if __name__ == "__main__":
    PAGE.main()
