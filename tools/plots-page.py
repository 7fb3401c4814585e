"""Write the page that dvc plots show fills in, with the Vega of Snakemake's reports; DVC's loads it from elsewhere."""

import sys
from pathlib import Path

from snakemake.assets import Assets

scripts = [
    f"<script>{Assets.get_content(f'{name}/{name}.js')}</script>" for name in ("vega", "vega-lite", "vega-embed")
]
head = "\n".join(['<meta charset="utf-8">', "<title>Plots</title>", *scripts])
page = f'<!DOCTYPE html>\n<html lang="en">\n<head>\n{head}\n</head>\n<body>\n{{plot_divs}}\n</body>\n</html>\n'
Path(sys.argv[1]).write_text(page, encoding="utf-8")
