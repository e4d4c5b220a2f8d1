"""From what is typed, or given to the library, to cases: `rtdetr-l@runtime=compile,threads=1`."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from detrbench.core.errors import UsageError
from detrbench.models.model import Model
from detrbench.models.sources import resolve
from detrbench.reports.case import Case, Execution, typed
from detrbench.reports.settings import SETTINGS, setting

if TYPE_CHECKING:
    from torch import nn

_OVERRIDES = re.compile(r"(.+?)@(\w[\w-]*=.*)", re.DOTALL)


def split_reference(text: str) -> tuple[str, dict[str, str]]:
    """A reference and the settings behind its @: "rtdetr-l@runtime=compile,threads=1".

    Raises:
        UsageError: what stands behind the @ are no settings.
    """
    found = _OVERRIDES.fullmatch(text)
    if found is None:
        return text, {}
    pairs = [pair.partition("=") for pair in found[2].split(",")]
    if not all(key and equals and value for key, equals, value in pairs):
        hint = "Write, for instance, rtdetr-l@runtime=compile,threads=1."
        raise UsageError(f"{found[2]!r} is not KEY=VALUE,KEY=VALUE", where=text, hint=hint)
    keys = [setting(key, where=text).key for key, _, _ in pairs]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice is not None:
        raise UsageError(f"{twice} is given twice", where=text, hint="Give it once.")
    return found[1], dict(zip(keys, (value for _, _, value in pairs), strict=True))


def parse_setting(key: str, text: str, where: str) -> Any:
    """The value of a setting as it was typed.

    Raises:
        UsageError: it is none; `where` says what was typed.
    """
    try:
        return SETTINGS[key].parse(text)
    except UsageError as error:
        raise UsageError(error.what, where=where, hint=error.hint) from error


def make_cases(
    references: Sequence[str | Path],
    defaults: Mapping[str, Sequence[Any]] | None = None,
    *,
    known: Collection[str] = (),
) -> tuple[Case, ...]:
    """Every reference under every combination of `defaults`, the first of all being the baseline.

    What stands behind a reference's @ holds for all of its cases.

    Args:
        references: as typed, such as "rtdetr-l" and "./my.yaml@threads=1".
        defaults: key of a setting -> the values to take, in order. What is not there has its usual
            value.
        known: references that stand for modules made already, which no source is asked for.

    Raises:
        UsageError: a reference that leads nowhere, a setting that is none, or the same case twice.
    """
    axes = {key: tuple(dict.fromkeys(values)) for key, values in (defaults or {}).items()}
    several = [key for key, values in axes.items() if len(values) > 1]
    asked: list[tuple[str, str, dict[str, Any]]] = []
    for text in map(reference_text, references):
        reference, overrides = split_reference(text)
        own = {key: parse_setting(key, value, text) for key, value in overrides.items()}
        asked.append((text, reference, own))
    found: dict[str, Case] = {}
    places: dict[str, int] = {}
    for point in itertools.product(*axes.values()):
        shared = dict(zip(axes, point, strict=True))
        for index, (text, reference, own) in enumerate(asked):
            told = {key: shared[key] for key in several if key not in own}
            name = named(text, told)
            if places.setdefault(name, index) != index:
                raise UsageError(f"{name} is named twice", hint="Name each model once.")
            case = _case(name, reference, shared | own, own)
            if name not in found:
                resolved = case.model if reference in known else resolve(case.model)
                found[name] = dataclasses.replace(case, model=resolved)
    return _unlike(tuple(found.values()))


def reference_text(reference: str | Path) -> str:
    """A reference as text; what is not one is said."""
    if not isinstance(reference, (str, Path)):
        raise UsageError(f"a {type(reference).__name__} is no reference to a model")
    return str(reference)


def named(text: str, told: Mapping[str, Any]) -> str:
    """`text` with what else tells a case apart."""
    if not told:
        return text
    pairs = ",".join(f"{key}={typed(key, value)}" for key, value in told.items())
    return f"{text}{',' if split_reference(text)[1] else '@'}{pairs}"


def _case(name: str, reference: str, values: Mapping[str, Any], own: Mapping[str, Any]) -> Case:
    of_model = {key: value for key, value in values.items() if SETTINGS[key].of == "model"}
    apart = {
        key: own[key]
        for key in ("scale", "blocks", "backbone_weights", "weights", "seed")
        if key in own and own[key] != SETTINGS[key].default
    }
    called = of_model.pop("name", None) or named(reference, apart)
    model = Model(called, reference, **of_model)
    execution = {key: value for key, value in values.items() if SETTINGS[key].of == "execution"}
    return Case(name, model, Execution(**execution))


def _unlike(cases: tuple[Case, ...]) -> tuple[Case, ...]:
    """`cases`, if each is another one, and no two models have one name; else UsageError."""
    seen: dict[tuple[Any, ...], Case] = {}
    named: dict[str, Case] = {}
    for case in cases:
        other = named.setdefault(case.model.name, case)
        if _without_settings(other.model) != _without_settings(case.model):
            said = f"{other.name} and {case.name} are two models, and both called {case.model.name}"
            raise UsageError(said, hint="Give each a name of its own: MODEL@name=NAME.")
        key = (case.model, case.execution)
        if key in seen:
            hint = "Name each case once; a copy to compare with is NAME@name=copy."
            raise UsageError(f"{case.name} is the same as {seen[key].name}", hint=hint)
        seen[key] = case
    return cases


def _without_settings(model: Model) -> Model:
    """What a name stands for: rows of one model may differ in the rest."""
    return dataclasses.replace(model, nc=None, scale=None, seed=0, files=())


Made: TypeAlias = "nn.Module | tuple[nn.Module, object]"
"""What somebody made: a module, or one with an example of what its forward takes."""

Subjects: TypeAlias = "Sequence[str | Path | Case | Made | tuple[str, Made]] | Mapping[str, Made]"
"""What the library's functions take as models: references, cases, or modules made already, which
may be given names."""


def cases_of(
    models: Subjects, settings: Mapping[str, Any]
) -> tuple[tuple[Case, ...], dict[str, Made]]:
    """The cases of a call, and the modules among its models by the reference they got.

    Args:
        settings: of all, by key; a list of several values makes every combination. A case that is
            given as such has settings of its own and takes none of these.

    Raises:
        UsageError: as `make_cases`; a key that is no setting, or no model at all.
    """
    if isinstance(models, Mapping) and not _is_module(models):
        models = [_Named(*pair) for pair in models.items()]
    alone = not isinstance(models, (list, tuple)) or _is_pair(models)
    given: list[Any] = [_named_or_not(one) for one in ([models] if alone else models)]
    if not given:
        raise UsageError("there is no model to measure", hint="Name one or more.")
    cases = [one for one in given if isinstance(one, Case)]
    if len(cases) == len(given):
        return _unlike(tuple(cases)), {}
    taken = [_given_name(one) for one in given if isinstance(one, (str, Path, _Named))]
    modules: dict[str, Made] = {}
    references = [
        one if isinstance(one, (str, Path)) else _put(one, modules, taken) for one in given
    ]
    return make_cases(references, _axes(settings), known=modules), modules


class _Named(NamedTuple):
    """A module, or one with an example of its inputs, and what it is called."""

    name: Any
    made: Any


def _named_or_not(given: Any) -> Any:
    """A pair of a name and a module as such; anything else as it is."""
    pair = isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], str)
    return _Named(*given) if pair and not isinstance(given, _Named) else given


def _given_name(given: str | Path | _Named) -> str:
    """A reference's text, or a module's name. Raises UsageError where that cannot be one."""
    if not isinstance(given, _Named):
        return str(given)
    name = given.name
    if not isinstance(name, str) or not name.strip() or split_reference(name)[1]:
        hint = "Give each a text without settings, such as 'before'."
        raise UsageError(f"{name!r} is no name of a module", hint=hint)
    return name


def _is_pair(given: Any) -> bool:
    """Whether it is a module and an example of its inputs, and not two models."""
    pair = isinstance(given, tuple) and len(given) == 2
    return pair and _is_module(given[0]) and not (_is_pair(given[1]) or _is_model(given[1]))


def _is_module(given: Any) -> bool:
    return hasattr(given, "named_parameters")


def _is_model(given: Any) -> bool:
    return _is_module(given) or isinstance(given, (str, Path, Case))


def _put(given: Any, modules: dict[str, Made], taken: Sequence[str]) -> str:
    """Puts what somebody made among `modules`, by the name that is returned: the given one, or of
    its class, or of its model file where it has one, with a number where others have that name."""
    made = given.made if isinstance(given, _Named) else given
    module = made[0] if _is_pair(made) else made
    if not _is_module(module):
        hint = "Give a name, a path, FILE.py:NAME, or an nn.Module."
        if isinstance(given, _Named):
            hint = "Give an nn.Module; a reference gets a name as in rtdetr-l@name=before."
        raise UsageError(f"a {type(module).__name__} is no model", hint=hint)
    from detrbench.models.yaml_spec import ModelSpec

    spec = getattr(module, "spec", None)  # of another's module, it means something else
    own = spec.name if isinstance(spec, ModelSpec) else type(module).__name__
    numbered = (own if i == 1 else f"{own}-{i}" for i in itertools.count(1))
    free = (name for name in numbered if name not in modules and name not in taken)
    name = given.name if isinstance(given, _Named) else next(free)
    modules[name] = made
    return str(name)


def _axes(settings: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The values of each setting, each of the right type."""
    axes = {}
    for key, value in settings.items():
        one = setting(key)
        if value is not None:
            values = value if isinstance(value, list) else [value]
            axes[one.key] = [_checked(one.key, each) for each in values]
    return axes


def _checked(key: str, value: Any) -> Any:
    """A value as its setting would have parsed it from text."""
    if key == "imgsz":
        value = f"{value[0]}x{value[1]}" if isinstance(value, (tuple, list)) else value
    return parse_setting(key, typed(key, value), key)
