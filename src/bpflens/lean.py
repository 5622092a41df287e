"""Records whose classes are made without `typing` and `dataclasses`: importing those two costs a short command as much as its work.

    class Hook(NamedTuple): ...        as typing.NamedTuple
    @frozen                            as @dataclass(frozen=True, slots=True)
    class Program: ...

To a type checker they are those. At run time a named tuple is collections.namedtuple with the methods of the class statement, and a frozen
class compiles its constructor only; the constructor is also faster than that of a frozen dataclass. Whoever asks a frozen class for
`__dataclass_fields__` (dataclasses.fields, asdict, replace) gets them: `dataclasses` makes them then.
"""

from __future__ import annotations

from collections import namedtuple
from operator import attrgetter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dataclasses import field, replace
    from typing import Literal, NamedTuple, TypedDict, TypeVar, dataclass_transform

    Class = TypeVar("Class")

    @dataclass_transform(frozen_default=True, field_specifiers=(field,))
    def frozen(cls: type[Class]) -> type[Class]:
        """As @dataclass(frozen=True, slots=True)."""
        return cls

else:
    _MADE_ANEW = object()  # the default in a signature where default_factory makes the value

    class _Factory:
        """A default that is made anew for each record."""

        __slots__ = ("make",)

        def __init__(self, make):
            self.make = make

    def field(*, default_factory):
        """As dataclasses.field."""
        return _Factory(default_factory)

    def replace(record, /, **changes):
        """As dataclasses.replace."""
        return type(record)(**({name: getattr(record, name) for name in record.__match_args__} | changes))

    class _TupleMaker(type):
        """Makes the class of a named tuple from a class statement."""

        def __new__(meta, name, bases, space):
            fields = space.get("__annotations__", {})
            made = namedtuple(name, fields, defaults=[space[key] for key in fields if key in space], module=space["__module__"])
            for key, value in space.items():
                if key not in fields and key not in ("__module__", "__slots__"):
                    setattr(made, key, value)
            return made

    NamedTuple = type.__new__(_TupleMaker, "NamedTuple", (), {})

    class Literal:
        """Literal["a", "b"]: for annotations only."""

        def __class_getitem__(cls, values):
            return cls

    class TypedDict(dict):
        """A dict, as typing's are."""

        def __init_subclass__(cls, total=True):
            pass

    def frozen(cls):
        """The class anew with slots, a constructor and comparison by value; its records cannot be changed."""
        own = [name for name, text in cls.__annotations__.items() if not text.startswith("ClassVar")]
        names = (*getattr(cls, "__match_args__", ()), *own)
        defaults = {**getattr(cls, "_defaults", {}), **{name: cls.__dict__[name] for name in own if name in cls.__dict__}}
        space = {name: value for name, value in cls.__dict__.items() if name not in (*own, "__dict__", "__weakref__")}
        made = type(cls)(cls.__name__, cls.__bases__, {
            **_methods(names), **space,
            "__slots__": tuple(own), "__match_args__": names, "_defaults": defaults, "__dataclass_fields__": _DataclassFields(),
            "__signature__": _Signature(),
        })  # fmt: skip

        def __init__(self, /, *args, **kwargs):
            made.__init__ = _constructor(made, names, defaults)  # with the first record: most classes of a command never have one
            made.__init__(self, *args, **kwargs)

        made.__init__ = __init__
        return made

    def _methods(names):
        """What every record of these fields can do."""
        values = attrgetter(*names) if names else lambda record: ()

        def __eq__(self, other):
            return values(self) == values(other) if self.__class__ is other.__class__ else NotImplemented

        def __hash__(self):
            return hash(values(self))

        def __repr__(self):
            return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"

        def __getstate__(self):
            return [getattr(self, name) for name in names]

        def __setstate__(self, state):
            for name, value in zip(names, state, strict=True):
                object.__setattr__(self, name, value)

        return {method.__name__: method for method in (__eq__, __hash__, __repr__, __getstate__, __setstate__, _setattr, _delattr)}

    def __setattr__(self, name, value):
        from dataclasses import FrozenInstanceError

        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name):
        from dataclasses import FrozenInstanceError

        raise FrozenInstanceError(f"cannot delete field {name!r}")

    _setattr, _delattr = __setattr__, __delattr__

    def _constructor(cls, names, defaults):
        """def __init__(self, a, b=DEFAULT): set_a(self, a); set_b(self, b), with the setters of the slots, which pass by the refusal."""
        space = {"anew": _MADE_ANEW}
        parameters, body = ["self"], []
        for name in names:
            space[f"set_{name}"] = getattr(cls, name).__set__
            value = name
            if name in defaults:
                default = defaults[name]
                space[f"default_{name}"] = default
                parameters.append(f"{name}=default_{name}")
                if type(default) is _Factory:
                    space[f"default_{name}"], space[f"make_{name}"] = _MADE_ANEW, default.make
                    value = f"make_{name}() if {name} is anew else {name}"
            else:
                parameters.append(name)
            body.append(f" set_{name}(self, {value})")
        exec(f"def __init__({', '.join(parameters)}):\n" + "\n".join(body or [" pass"]), space)
        made = space["__init__"]
        made.__qualname__, made.__module__ = f"{cls.__qualname__}.__init__", cls.__module__
        made.__annotations__ = {**_texts(cls), "return": "None"}
        return made

    def _texts(cls):
        """The annotations of the fields."""
        texts = {name: text for base in cls.__mro__[::-1] for name, text in getattr(base, "__annotations__", {}).items()}
        return {name: texts[name] for name in cls.__match_args__}

    class _Signature:
        """`__signature__` of a frozen class, for help() and inspect."""

        def __get__(self, record, cls):
            import inspect

            signature = inspect.signature(_constructor(cls, cls.__match_args__, cls._defaults))
            return signature.replace(parameters=list(signature.parameters.values())[1:])

    class _DataclassFields:
        """`__dataclass_fields__` of a frozen class, made by the standard library when somebody looks."""

        def __get__(self, record, cls):
            import dataclasses

            def told(name):
                if name not in cls._defaults:
                    return dataclasses.field()
                default = cls._defaults[name]
                return dataclasses.field(default_factory=default.make) if type(default) is _Factory else dataclasses.field(default=default)

            texts = _texts(cls)
            made = dataclasses.make_dataclass(cls.__name__, [(name, texts[name], told(name)) for name in cls.__match_args__])
            cls.__dataclass_fields__ = made.__dataclass_fields__
            return made.__dataclass_fields__


__all__ = ("Literal", "NamedTuple", "TypedDict", "field", "frozen", "replace")
