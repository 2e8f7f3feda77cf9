"""The decorator `dataclass` of the standard library, whose methods are made when first called.

The library compiles six methods for each class that is defined: half of what importing nimad took,
and most of them are never called.  What it knows of the fields it is asked when somebody wants to
know: that was a tenth of what was left.  Fields, `replace`, `asdict` and what type checkers see are
the library's own; tests/unit/test_dataclass.py compares the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["dataclass"]

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:
    from dataclasses import MISSING, Field, FrozenInstanceError, fields
    from dataclasses import dataclass as with_fields
    from operator import attrgetter
    from reprlib import recursive_repr
    from types import SimpleNamespace

    def dataclass(cls=None, *, frozen=False, slots=False, eq=True):
        """As dataclasses.dataclass, with the options that nimad uses."""

        def process(cls):
            told = vars(cls).get("__annotations__", {})
            others = any("__dataclass_fields__" in base.__dict__ for base in cls.__mro__[1:])
            if others or any("ClassVar" in str(each) for each in told.values()):
                made = processed(cls, slots)
            else:
                made = prepared(cls, told, slots)
            methods = {"__init__": initializer(made, frozen), "__repr__": show}
            if eq:
                methods |= comparison(made, frozen)
            for name, method in methods.items():
                if name not in made.__dict__:
                    setattr(made, name, method)
            if frozen:
                freeze(made, slots)
            return made

        return process if cls is None else process(cls)

    def processed(cls, slots=False):
        """What the library makes of a class, at once."""
        documented = cls.__doc__
        # The library would give a class without a docstring its signature, which takes long.
        cls.__doc__ = documented or " "
        made = with_fields(init=False, repr=False, eq=False, slots=slots)(cls)
        made.__doc__ = documented
        return made

    class Later:
        """An attribute of a class that the library makes, once somebody asks for it."""

        def __init__(self, name):
            self.name = name

        def __get__(self, instance, owner):
            made = next((c for c in owner.__mro__ if c.__dict__.get(self.name) is self), None)
            if made is None:  # another thread was sooner
                return getattr(owner, self.name)
            told = made.__annotations__
            # The library would search every annotation that is text for the names of its own forms.
            content = {**made._defaults, "__annotations__": dict.fromkeys(told, object)}
            found = processed(type(made.__name__, (), content))
            for name, kind in told.items():
                found.__dataclass_fields__[name].type = kind
            for late in LATER:
                setattr(made, late, found.__dict__[late])
            return found.__dict__[self.name]

    LATER = {n: Later(n) for n in ("__dataclass_fields__", "__dataclass_params__")}

    def prepared(cls, told, slots):
        """A class that derives from no other such class, with what it must have at once."""
        content = cls.__dict__
        defaults = {name: content[name] for name in told if name in content}
        asked = {name: value for name, value in defaults.items() if isinstance(value, Field)}
        names = [name for name in told if name not in asked or asked[name].init]
        made = LATER | {"_defaults": defaults, "__match_args__": tuple(names)}
        if slots:
            left_out = {*told, "__dict__", "__weakref__"}
            made |= {name: value for name, value in content.items() if name not in left_out}
            made |= {"__slots__": tuple(told), "__qualname__": cls.__qualname__}
            return type(cls)(cls.__name__, cls.__bases__, made)
        for name, value in asked.items():
            if value.default is MISSING:
                delattr(cls, name)
            else:
                made[name] = value.default
        for name, value in made.items():
            setattr(cls, name, value)
        return cls

    def initializer(made, frozen):
        """What makes and calls the class's `__init__` at its first instance."""

        def init(self, *args, **kwargs):
            made.__init__ = compiled_initializer(made, frozen)
            made.__init__(self, *args, **kwargs)

        return init

    def described(made):
        """Its fields, as far as its `__init__` wants to know them."""
        if (defaults := made.__dict__.get("_defaults")) is None:
            return fields(made)
        found = []
        for name in made.__annotations__:
            field = defaults.get(name, MISSING)
            if not isinstance(field, Field):
                field = SimpleNamespace(default=field, default_factory=MISSING, init=True)
            field.name = name
            found.append(field)
        return found

    def compiled_initializer(made, frozen):
        known = {"_set": object.__setattr__, "_none": MISSING}
        params, body = [], []
        for field in described(made):
            name, default = field.name, f"_default_{field.name}"
            if field.default_factory is not MISSING:
                known[default] = field.default_factory
                params.append(f"{name}=_none")
                value = f"{default}() if {name} is _none else {name}"
            elif field.default is not MISSING:
                known[default] = field.default
                params.append(f"{name}={default}")
                value = name
            else:
                params.append(name)
                value = name
            if not field.init:
                del params[-1]
                if field.default_factory is MISSING:
                    continue  # its default is an attribute of the class
                value = f"{default}()"
            body.append(f"_set(self, {name!r}, {value})" if frozen else f"self.{name} = {value}")
        if hasattr(made, "__post_init__"):
            body.append("self.__post_init__()")
        lines = "\n  ".join(body or ["pass"])
        exec(f"def __init__({', '.join(['self', *params])}):\n  {lines}", known)
        known["__init__"].__qualname__ = f"{made.__qualname__}.__init__"
        return known["__init__"]

    @recursive_repr()
    def show(self):
        inner = ", ".join(f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if f.repr)
        return f"{self.__class__.__qualname__}({inner})"

    def comparison(made, frozen):
        def values(self):  # until it is first called
            nonlocal values
            names = tuple(f.name for f in fields(made) if f.compare)
            if len(names) > 1:
                values = attrgetter(*names)
            else:  # of one name, attrgetter makes no tuple

                def values(self):
                    return tuple(getattr(self, name) for name in names)

            return values(self)

        def equal(self, other):
            if other.__class__ is self.__class__:
                return values(self) == values(other)
            return NotImplemented

        return {"__eq__": equal, "__hash__": (lambda self: hash(values(self))) if frozen else None}

    def freeze(made, slots):
        def ours(name):
            return name in (f.name for f in fields(made))

        def set_attribute(self, name, value):
            if type(self) is made or ours(name):
                raise FrozenInstanceError(f"cannot assign to field {name!r}")
            super(made, self).__setattr__(name, value)

        def delete_attribute(self, name):
            if type(self) is made or ours(name):
                raise FrozenInstanceError(f"cannot delete field {name!r}")
            super(made, self).__delattr__(name)

        made.__setattr__, made.__delattr__ = set_attribute, delete_attribute
        if slots:  # copies and pickles set what may not be set
            made.__getstate__, made.__setstate__ = get_state, set_state

    def get_state(self):
        return [getattr(self, f.name) for f in fields(self)]

    def set_state(self, state):
        for field, value in zip(fields(self), state, strict=True):
            object.__setattr__(self, field.name, value)
