"""Rows of many datasets, one search away: built once from pinned sources, verified, opened, searched by meaning.

sources ─► cells ─► stages (one finished folder a source) ─► building (merge, graph, manifest) ─► RowIndex
"""
