"""Unpickle untrusted values: only plain containers are built, and nothing is ever called.

HELM keeps its request caches as pickles, and `pickle.loads` runs whatever a pickle names. This reader steps through a
pickle's opcodes (as the standard library's disassembler does, which runs nothing) and builds dicts, lists, tuples,
text, bytes and numbers. No class or function is ever looked up. A pickle that names one is refused, except for those
that HELM's clients are known to store, which are replaced by something plain: a member of an enumeration by its value,
a date by None, an instance of a dictionary class (as OpenAI's client made before 2024) by a plain dict.
"""

import pickletools
from typing import Any, Final

from helm_efficiency.errors import InputError

_KNOWN_MODULES: Final = (
    *("google.genai.types", "google.cloud.aiplatform", "google.ai.generativelanguage", "vertexai."),  # enumerations
    *("datetime", "pydantic_core._pydantic_core"),  # dates and their time zones
    *("openai.openai_object", "collections"),  # dictionaries
)
_DICTIONARIES: Final = frozenset({"OpenAIObject", "OrderedDict"})

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


_MOST_NUMBER_KEYS: Final = 100
"""Most number keys that the dicts of one pickle may have. HELM's clients keep JSON, which only has text keys.

Numbers can be chosen to have equal hashes; n of them then take n² comparisons: 5,000 for 100, seconds for 10,000.
"""

_WORK_PER_BYTE: Final = 20
"""Most work that a byte of a pickle may cause: a dict entry counts 1 plus the length of its key, which may be compared.

A key that is named again takes 3 bytes with its value, whatever its length; the longest that providers use have 25
letters, so real pickles stay below 9. At 20 the worst pickle of 1 MB takes half a second.
"""


class UnsafePickleError(InputError):
    """Error for a pickle that is damaged, or names a class or function; nothing in it was run."""


class _Named:
    """Placeholder for a known class that the pickle names."""

    def __init__(self, name: str) -> None:
        self.name = name

    def call(self, arguments: Any) -> Any:
        """Return the plain value that replaces an instance."""
        if self.name in _DICTIONARIES:
            return {}
        is_value = len(arguments) == 1 and isinstance(arguments[0], str | int)
        return arguments[0] if is_value else None


def loads(data: bytes) -> Any:
    """Build plain containers from a pickle.

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
        self.work_left = 0
        self.number_keys_left = _MOST_NUMBER_KEYS

    def run(self, data: bytes) -> Any:
        self.work_left = _WORK_PER_BYTE * len(data)
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
                self._set_pairs(self._pop(2) if name == "SETITEM" else self._pop_to_mark())
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
                self._set_pairs(pairs)
            case _:
                self._name_or_call(name, argument)

    def _name_or_call(self, name: str, argument: Any) -> None:
        """Replace a class that HELM's clients are known to store by something plain; refuse any other."""
        match name:
            case "GLOBAL" | "STACK_GLOBAL":
                module, what = argument.split(" ", 1) if name == "GLOBAL" else self._pop(2)
                if not (isinstance(module, str) and isinstance(what, str)):
                    raise UnsafePickleError("it is damaged (a name that is not text)")
                if not module.startswith(_KNOWN_MODULES):
                    raise UnsafePickleError(f"it names {module[:80]}.{what[:80]}, which is not run")
                self.stack.append(_Named(what))
            case "REDUCE":
                called, arguments = self._pop(2)
                self.stack.append(called.call(arguments))
            case "BUILD":
                [state] = self._pop(1)
                if state:
                    self._set(list(state), list(state.values()))
            case _:
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

    def _set_pairs(self, pairs: list[Any]) -> None:
        self._set(pairs[::2], pairs[1::2])

    def _set(self, keys: list[Any], values: list[Any]) -> None:
        """Put items into the dict on top of the stack, within the limits on number keys and work."""
        # Hashing a tuple of tuples can take forever; HELM's keys are text.
        if not all(isinstance(key, str | int | float | None) for key in keys):
            raise UnsafePickleError("it has a dict with keys that are neither text nor numbers")
        texts = [key for key in keys if isinstance(key, str)]
        self.number_keys_left -= len(keys) - len(texts)
        self.work_left -= len(keys) + sum(map(len, texts))
        if self.number_keys_left < 0:
            raise UnsafePickleError(f"it has more than {_MOST_NUMBER_KEYS} keys that are numbers; expected text")
        if self.work_left < 0:
            raise UnsafePickleError("reading it would take far longer than its size needs")
        self.stack[-1].update(zip(keys, values, strict=True))
