"""Unpickle values of strangers: plain containers come out, nothing else is ever made or called.

HELM keeps its request caches as pickles, and `pickle.loads` runs whatever a pickle names. This reader steps through a
pickle's opcodes (as the standard library's disassembler does, which runs nothing) and builds dicts, lists, tuples,
text, bytes and numbers. It meets no class or function to look up: every opcode that names or calls one is refused, but
for one pattern. Members of an enumeration, which some of HELM's clients store, pickle as a call of their class with
their value; where the class is of a module in `_ENUM_MODULES` the value itself is put in its place.
"""

import pickletools
from typing import Any, Final

from helm_efficiency.errors import InputError

_ENUM_MODULES: Final = ("google.genai.types", "google.cloud.aiplatform", "google.ai.generativelanguage", "vertexai.")

_IGNORED: Final = frozenset({"PROTO", "FRAME"})
_CONSTANTS: Final = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_LITERALS: Final = frozenset(
    (
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    )
)
_TUPLES: Final = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_MARK: Final = object()


class UnsafePickleError(InputError):
    """A pickle is damaged, or names a class or function; nothing of it was run."""


class _EnumClass:
    """Stands where the class of an enumeration was named."""


def loads(data: bytes) -> Any:
    """Plain containers from a pickle.

    Raises:
        UnsafePickleError: The pickle is damaged or holds anything else.
    """
    try:
        return _Machine().run(data)
    except UnsafePickleError:
        raise
    except (ValueError, IndexError, KeyError, AttributeError, TypeError, MemoryError) as error:
        raise UnsafePickleError(f"it is damaged ({type(error).__name__}: {error})") from error


class _Machine:
    """The stack and the memo that the opcodes of one pickle work on."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, data: bytes) -> Any:
        for opcode, argument, _ in pickletools.genops(data):
            name = opcode.name
            if name in _LITERALS:
                self.stack.append(argument)
            elif name in _CONSTANTS:
                self.stack.append(_CONSTANTS[name])
            elif name == "STOP":
                return self.stack.pop()
            elif name not in _IGNORED:
                self._remember_or_build(name, argument)
        raise UnsafePickleError("it is damaged (no end)")

    def _remember_or_build(self, name: str, argument: Any) -> None:
        stack, memo = self.stack, self.memo
        match name:
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "MARK":
                stack.append(_MARK)
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_LIST":
                stack.append([])
            case "SETITEM" | "SETITEMS":
                self._set(self._pop(2) if name == "SETITEM" else self._pop_to_mark())
            case "APPEND" | "APPENDS":
                items = self._pop(1) if name == "APPEND" else self._pop_to_mark()
                stack[-1].extend(items)
            case "EMPTY_TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(self._pop(_TUPLES[name])))
            case "TUPLE":
                stack.append(tuple(self._pop_to_mark()))
            case "LIST":
                stack.append(self._pop_to_mark())
            case "DICT":
                pairs = self._pop_to_mark()
                stack.append({})
                self._set(pairs)
            case _:
                self._name_or_call(name, argument)

    def _name_or_call(self, name: str, argument: Any) -> None:
        """Let members of known enumerations pass as their values."""
        if name == "REDUCE":
            called, arguments = self._pop(2)
            if called is _EnumClass and len(arguments) == 1 and isinstance(arguments[0], str | int):
                self.stack.append(arguments[0])
                return
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            module, what = argument.split(" ", 1) if name == "GLOBAL" else self._pop(2)
            if not (isinstance(module, str) and isinstance(what, str)):
                raise UnsafePickleError("it is damaged (a name that is not text)")
            if not module.startswith(_ENUM_MODULES):
                raise UnsafePickleError(f"it names {module[:80]}.{what[:80]}, which is not run")
            self.stack.append(_EnumClass)
            return
        raise UnsafePickleError(f"it is not plain data (opcode {name})")

    def _pop(self, number: int) -> list[Any]:
        if not number:
            return []
        popped = self.stack[-number:]
        if len(popped) < number:
            raise UnsafePickleError("it is damaged (empty stack)")
        del self.stack[-number:]
        return popped

    def _pop_to_mark(self) -> list[Any]:
        stack = self.stack
        place = len(stack) - 1
        while stack[place] is not _MARK:
            place -= 1
        popped = stack[place + 1 :]
        del stack[place:]
        return popped

    def _set(self, pairs: list[Any]) -> None:
        keys = pairs[::2]
        # Hashing a tuple of tuples can take forever; HELM's keys are text.
        if not all(isinstance(key, str | int | float | None) for key in keys):
            raise UnsafePickleError("it has a dict with keys that are neither text nor numbers")
        self.stack[-1].update(zip(keys, pairs[1::2], strict=True))
