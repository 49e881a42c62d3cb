"""From YAML text and the environment to a plain tree that remembers where each value stood."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from gateway.config.mistakes import KeyPath, Mistake, dotted

MAX_VALUES = 100_000
"""More values than any real file holds: aliases of aliases can unfold a few lines into billions."""

MAX_DEPTH = 32
"""Deeper than any real file: the deepest key stands at six."""

_TAG = "tag:yaml.org,2002:"
_REFERENCE = re.compile(r"\$\$\{|\$\{(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\})?")


class _Loader(yaml.SafeLoader):
    """Knows the scalars of the YAML 1.2 core schema (https://yaml.org/spec/1.2.2/#103-core-schema).

    YAML 1.1, PyYAML's own, reads ``no`` as false, ``1:30`` as 90, ``010`` as 8 and ``2024-10-21`` as a date.
    """


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("null", r"^(?:~|null|Null|NULL|)$", "~nN\0"),
    ("int", r"^[-+]?[0-9]+$", "-+0123456789"),
    ("float", r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", "-+.0123456789"),
    ("merge", r"^<<$", "<"),
):
    _Loader.add_implicit_resolver(_TAG + _tag, re.compile(_pattern), [c if c != "\0" else "" for c in _first])


@dataclass(slots=True)
class Document:
    """A configuration as written.

    ``lines`` has the line of each path, ``references`` the text of values that name variables, ``unreadable``
    the paths whose value is wrong already, so that nobody blames them again.
    """

    tree: dict[str, object] = field(default_factory=dict)
    lines: dict[KeyPath, int] = field(default_factory=dict)
    references: dict[KeyPath, str] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)
    unreadable: set[KeyPath] = field(default_factory=set)


def read_document(text: str, environ: Mapping[str, str]) -> Document:
    """Read YAML; fill in ``${NAME}``, ``${NAME:-default}`` (if unset or empty), and ``${`` for ``$${``.

    Never raises: what is wrong stands in ``mistakes``, with every other value still read.
    """
    document = Document()
    loader = _Loader("")
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        document.mistakes.append(_syntax_mistake(error, text))
        return document
    except RecursionError:
        document.mistakes.append(Mistake("", "is nested too deeply"))
        return document
    except yaml.YAMLError:
        document.mistakes.append(Mistake("", "is not YAML: it holds a character that no text file has"))
        return document
    finally:
        loader.dispose()
    if root is None:
        return document
    if not isinstance(root, MappingNode):
        document.mistakes.append(
            Mistake("", "must be a mapping of sections: write providers:, models:, tenants:, each on its own line")
        )
        return document
    tree = _Reader(document, environ).read(root, ())
    if isinstance(tree, dict):
        document.tree = tree
    return document


def _syntax_mistake(error: yaml.MarkedYAMLError, text: str) -> Mistake:
    mark = error.problem_mark or error.context_mark
    where = f", column {mark.column + 1}" if mark else ""
    problem = error.problem or "it cannot be read"
    if "cannot start any token" in problem and "'\\t'" in problem:
        problem = "a tab cannot indent: use spaces"
    elif error.context:
        problem = f"{error.context}, {problem}"
    hint = None
    if mark and "${" in "".join(text.splitlines()[max(0, mark.line - 1) : mark.line + 1]):
        hint = 'Within [ ] and { } a variable stands in quotes: "${NAME}".'
    return Mistake("", f"is not YAML{where}: {problem}", hint=hint, line=mark.line + 1 if mark else None)


class _Reader:
    """Walks composed nodes, so that every value has its line and a second key of one name is seen."""

    def __init__(self, document: Document, environ: Mapping[str, str]) -> None:
        self._document = document
        self._environ = environ
        self._open: set[int] = set()
        self._values = 0

    def read(self, node: Node, path: KeyPath) -> object:
        self._values += 1
        self._document.lines[path] = node.start_mark.line + 1
        if self._values > MAX_VALUES or len(path) > MAX_DEPTH:
            self._give_up(path)
            return None
        if isinstance(node, ScalarNode):
            return self._scalar(node, path)
        with self._opened(node, path) as fresh:
            return self._collection(node, path) if fresh else None

    def _collection(self, node: Node, path: KeyPath) -> object:
        if isinstance(node, SequenceNode) and node.tag == _TAG + "seq":
            return [self.read(child, (*path, i)) for i, child in enumerate(node.value)]
        if isinstance(node, MappingNode) and node.tag == _TAG + "map":
            return self._mapping(node, path)
        self._refuse_tag(node, path)
        return None

    def _give_up(self, path: KeyPath) -> None:
        if len(path) > MAX_DEPTH:
            self._refuse(path[:MAX_DEPTH], "is nested too deeply")
        elif self._values == MAX_VALUES + 1:
            self._refuse(path, f"unfolds to more than {MAX_VALUES} values: look for aliases of aliases")

    def _refuse_tag(self, node: Node, path: KeyPath) -> None:
        tag = node.tag.replace(_TAG, "!!")
        self._refuse(path, f"has the tag {tag}: remove it, plain YAML is all there is")

    @contextmanager
    def _opened(self, node: Node, path: KeyPath) -> Iterator[bool]:
        if id(node) in self._open:
            self._refuse(path, "holds an alias to itself: remove it")
            yield False
            return
        self._open.add(id(node))
        yield True
        self._open.discard(id(node))

    def _mapping(self, node: MappingNode, path: KeyPath) -> dict[str, object]:
        own: dict[str, object] = {}
        merged: dict[str, object] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                self._refuse(path, "has a key that is a list or a mapping: write plain text before the colon")
            elif key_node.tag == _TAG + "merge":
                self._merge(value_node, path, merged)
            elif key_node.value in own:
                first = self._document.lines[(*path, key_node.value)]
                line = key_node.start_mark.line + 1
                again = dotted((*path, key_node.value))
                self._document.mistakes.append(
                    Mistake(again, f"is there twice, also on line {first}: keep one", line=line)
                )
            else:
                own[key_node.value] = self.read(value_node, (*path, key_node.value))
                self._document.lines[(*path, key_node.value)] = key_node.start_mark.line + 1
        return {**merged, **own}

    def _merge(self, node: Node, path: KeyPath, merged: dict[str, object]) -> None:
        """Take over what ``<<`` names; of several, the earlier wins (https://yaml.org/type/merge.html)."""
        for source in node.value if isinstance(node, SequenceNode) else [node]:
            values = self.read(source, path) if isinstance(source, MappingNode) else None
            if not isinstance(values, dict):
                self._refuse(path, "merges (<<) something that is not a mapping")
                return
            for key, value in values.items():
                merged.setdefault(key, value)

    def _scalar(self, node: ScalarNode, path: KeyPath) -> object:
        text: str = node.value
        match node.tag.removeprefix(_TAG):
            case "str" | "merge":
                return self._fill_in(text, path)
            case "null":
                return None
            case "bool" if text.lower() in {"true", "false"}:
                return text.lower() == "true"
            case "int" | "float" as kind:
                try:
                    return int(text) if kind == "int" else float(text)
                except ValueError:
                    self._refuse(path, "is not a number that can be read")
                    return None
        self._refuse(path, f"has the tag {node.tag.replace(_TAG, '!!')}: remove it, plain YAML is all there is")
        return None

    def _fill_in(self, text: str, path: KeyPath) -> str:
        if "${" not in text:
            return text

        def value_of(reference: re.Match[str]) -> str:
            name, default = reference["name"], reference["default"]
            if reference[0] == "$${":
                return "${"
            self._document.references[path] = text
            if name is None:
                self._refuse(
                    path,
                    "has a ${ that names no variable: write ${NAME}, ${NAME:-default}, or $${ for ${ itself",
                )
                return ""
            value = self._environ.get(name)
            if default is not None:
                return value or default
            if value is None:
                self._refuse(
                    path,
                    f"needs the environment variable {name}, which is not set: set it, or write "
                    f"${{{name}:-…}} with what to take instead",
                )
                return ""
            return value

        return _REFERENCE.sub(value_of, text)

    def _refuse(self, path: KeyPath, message: str) -> None:
        self._document.mistakes.append(Mistake(dotted(path), message, line=self._document.lines.get(path)))
        self._document.unreadable.add(path)
