"""What MkDocs asks while it builds the site: pages for what the docs link to outside of docs/.

The Markdown is written for GitHub, where a link leads to any file of the repository. In the site, README.md is the
front page, the other Markdown files are pages of their own name, and each other file is a page that shows its text.
A link to what is not there stays as it is, and MkDocs warns of it.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File, InclusionLevel

TOP = Path(__file__).parents[1]
FRONT = "index.md"
LINK = re.compile(r"(?<!!)\]\(([^)\s#]+)(#[^)\s]*)?\)")
FENCE = re.compile(r"^(```.*?^```$)", re.MULTILINE | re.DOTALL)
TOP_PAGES = ("CHANGELOG.md", "CONTRIBUTING.md", "EXAMPLES.md", "SECURITY.md")
LANGUAGES = {
    ".yml": "yaml",
    ".yaml": "yaml",
    ".json": "json",
    ".toml": "toml",
    ".py": "python",
    ".md": "markdown",
}


def prose(text):
    """The text without its blocks of code, and these, by turns."""
    return FENCE.split(text)


def target(of, link):
    """The file or directory of the repository that a link in the file `of` leads to; None where it leads elsewhere."""
    if re.match(r"[a-z]+:", link):
        return None
    found = posixpath.normpath(posixpath.join(posixpath.dirname(of), link))
    return found if (TOP / found).exists() and not found.startswith("..") else None


def page(path):
    """The page of the site for a path of the repository."""
    if path == "README.md":
        return FRONT
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if path in TOP_PAGES:
        return path
    return f"files/{path}" if path.endswith(".md") else f"files/{path}.md"


def links(path):
    """The paths of the repository that a Markdown file of it links to."""
    for part in prose((TOP / path).read_text("utf-8"))[::2]:
        for match in LINK.finditer(part):
            if found := target(path, match[1]):
                yield found


def shown(path):
    """The page of a file that is no page by itself, or of a directory."""
    there = TOP / path
    head = f"---\nsearch:\n  exclude: true\n---\n\n# {path}\n\n"
    if there.is_dir():
        names = sorted(each.name for each in there.iterdir() if each.is_file())
        return head + "\n".join(f"- [{name}]({there.name}/{name}.md)" for name in names) + "\n"
    text = there.read_text("utf-8")
    if there.suffix == ".md":
        return moved(path, text)
    return f"{head}````{LANGUAGES.get(there.suffix, 'text')}\n{text}````\n"


def moved(path, text):
    """The Markdown of a file of the repository, its links leading to pages of the site."""
    here = posixpath.dirname(page(path))

    def lead(match):
        found = target(path, match[1])
        if found is None:
            return match[0]
        return f"]({posixpath.relpath(page(found), here or '.')}{match[2] or ''})"

    parts = prose(text)
    parts[::2] = [plain_bars(LINK.sub(lead, part)) for part in parts[::2]]
    return "".join(parts)


def plain_bars(text):
    """The text without the backslash that GitHub wants before a | within code in a table."""
    return re.sub(r"`[^`\n]*`", lambda match: match[0].replace("\\|", "|"), text)


def on_files(files, config):
    """Add the pages of what is linked to, and of what that links to."""
    waiting = ["README.md", *TOP_PAGES, *(f"docs/{file.src_uri}" for file in files.documentation_pages())]
    seen = set(waiting)
    while waiting:
        path = waiting.pop()
        if not path.startswith("docs/"):
            level = InclusionLevel.INCLUDED if in_nav(path) else InclusionLevel.NOT_IN_NAV
            files.append(File.generated(config, page(path), content=of_page(path), inclusion=level))
        more = set()
        if path.endswith(".md"):
            more = {each for each in links(path) if not each.startswith("docs/")}
        elif (TOP / path).is_dir():
            more = {f"{path}/{each.name}" for each in (TOP / path).iterdir() if each.is_file()}
        waiting += sorted(more - seen)
        seen |= more
    return files


def of_page(path):
    return moved(path, (TOP / path).read_text("utf-8")) if in_nav(path) else shown(path)


def in_nav(path):
    return page(path) in (FRONT, *TOP_PAGES)


def on_page_markdown(markdown, page, **_):
    """Let the links of the docs lead to pages of the site."""
    uri = page.file.src_uri
    return markdown if page.file.generated_by else moved(f"docs/{uri}", markdown)
