"""Put what the index's benchmarks measured into docs/index.md.

python -m benchmarks.index_figures            # from benchmarks/results into docs/index.md
python -m benchmarks.index_figures --check    # does docs/index.md say what benchmarks/results holds?
"""

from benchmarks.figures_page import FiguresPage, Results
from benchmarks.index_plot import recall_picture

KEYS = {
    "vectors": "vectors recall recall_100 recall_behind single single_cpu batch order bytes graph_bytes open open_rss "
    "build_rss build build_fast recall_fast around filtered_recall filtered",
    "peers": "peers ours hnswlib faiss faiss_small usearch usearch_small faiss_scan",
    "build": "rss around around_row bytes open first open_rss fetch",
    "rows": "fetch disk kit_fetch kit_disk",
    "lexical": "faster faster_cpu query first open disk rss build filter_one_source filter_half_the_sources "
    "filter_all_but_50",
    "encoding": "encode encode_cosine encode_int8 encode_static query int8_loss static_loss",
}
CIRCUMSTANCES = (
    "The kit is a collection of public datasets (`REBASE_KIT`), which is not part of this repository; without it the "
    "scripts draw texts and vectors of their own, and their figures differ."
)
CURVES = "index_peers.svg"


class IndexPage(FiguresPage):
    """The page's table, and the picture of recall against queries."""

    def pictures(self, results: Results) -> dict[str, str]:
        """Return the picture of ours and the others' curves."""
        if (peers := results.get("index_peers")) is None:
            return {}
        lines = [line for line in peers["lines"] if "points" in line["details"]]
        curves = {line["key"]: line["details"]["points"] for line in lines}
        return {CURVES: recall_picture(curves, {line["key"]: line["what"].partition(":")[0] for line in lines})}


PAGE = IndexPage(
    "index",
    "docs/index.md",
    [f"{name}.{key}" for name, keys in KEYS.items() for key in keys.split()],
    CIRCUMSTANCES,
)

if __name__ == "__main__":
    PAGE.main()
