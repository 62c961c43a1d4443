"""Write docs/pipeline-file.md: ``python -m include.reference``; see ``include.specification``."""

from include.specification.reference_page import PATH, text

if __name__ == "__main__":
    PATH.write_text(text(), encoding="utf-8")
