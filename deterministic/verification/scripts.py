"""A script or a module, run in this process as `python` would run it in one of its own."""

from __future__ import annotations

import builtins
import importlib.machinery
import importlib.util
import io
import os
import sys
from collections.abc import Mapping, Sequence
from types import CodeType, ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar


class NotRunnableError(ImportError):
    """There is no such script or module, or it is none that can be run."""


_AT_START = ("abc", "codecs", "encodings", "genericpath", "io", "ntpath", "os", "posixpath", "site", "stat")
"""What Python itself has imported before a script begins."""

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class ScriptTask:
    """A script, or a module (`python -m`), by its path or name, with what comes after it on the command line."""

    way_out: ClassVar[str] = "To go on with a warning: deterministic verify --deterministic warn ..."

    def __init__(self, target: str, argv: Sequence[str] = (), is_module: bool = False) -> None:
        self.target, self.argv, self.is_module = target, argv, is_module

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ScriptTask) and vars(self) == vars(other)

    @property
    def title(self) -> str:
        return " ".join([*(["-m"] if self.is_module else []), self.target, *self.argv])

    def run(self) -> None:
        """Run it as `__main__`, for which the process is there: `__main__`, `sys.argv` and `sys.path` stay its own.

        So what it pickles, what worker processes import again, and what runs when the process ends find it where it
        would be. `sys.exit()` and `sys.exit(0)` are ordinary ends.

        Raises:
            NotRunnableError: There is no such module, or nothing in it to run.
            SystemExit: It ended with another status.
            Exception: What it raised.
        """
        try:
            if self.is_module:
                self._run_module()
            elif os.path.isdir(self.target) or _is_zipfile(self.target):
                self._run_archive()
            else:
                self._run_file()
        except SystemExit as end:
            if not (end.code is None or (isinstance(end.code, int) and end.code == 0)):
                raise

    def carried(self) -> Mapping[str, str]:
        """Return nothing: a script begins in a process of its own."""
        return {}

    def _run_file(self) -> None:
        path = os.path.join(os.getcwd(), self.target)  # with its dots, as Python has it
        sys.argv = [self.target, *self.argv]
        _look_first_in(os.path.dirname(os.path.realpath(path)))
        with io.open_code(path) as file:
            code = compile(file.read(), path, "exec", dont_inherit=True)
        main = ModuleType("__main__")
        main.__file__ = path
        main.__loader__ = importlib.machinery.SourceFileLoader("__main__", path)
        main.__dict__["__cached__"] = None
        _run(code, main)

    def _run_archive(self) -> None:
        """Run the `__main__` of a folder or a zip file, which is where Python then imports from."""
        import pkgutil

        sys.argv = [self.target, *self.argv]
        path = os.path.join(os.getcwd(), self.target)
        finder = pkgutil.get_importer(path)
        spec = None if finder is None else finder.find_spec("__main__", None)
        code, main = _code_and_main(spec, f"can't find '__main__' in {self.target!r}")
        sys.path.insert(0, path)
        _run(code, main)

    def _run_module(self) -> None:
        sys.argv = ["-m", *self.argv]  # what `python -m` shows to the packages above the module
        _look_first_in(os.getcwd())
        module = self.target
        spec = _spec_of(module)
        if spec is not None and spec.submodule_search_locations is not None:
            module = f"{module}.__main__"
            spec = _spec_of(module)
        code, main = _code_and_main(spec, f"no module named {module!r} that can be run")
        sys.argv = [main.__file__ or self.target, *self.argv]
        _run(code, main)


def _spec_of(module: str) -> importlib.machinery.ModuleSpec | None:
    """Find a module as runpy does: what the packages above it raise is the user's, and shown as such."""
    package = module.rpartition(".")[0]
    try:
        if package:
            __import__(package)
    except ImportError as error:
        if error.name is None or (error.name != package and not package.startswith(f"{error.name}.")):
            raise
    try:
        return importlib.util.find_spec(module)
    except (AttributeError, ImportError, TypeError, ValueError) as error:  # those that runpy expects here
        raise NotRunnableError(f"{module!r}: {type(error).__name__}: {error}") from error


def _is_zipfile(path: str) -> bool:
    """Return whether Python would run it as one; importing zipfile takes longer than many a script."""
    if not os.path.isfile(path):
        return False  # what is read from a pipe is gone
    with open(path, "rb") as file:
        if file.read(2) in (b"#!", b"PK"):
            import zipfile

            return zipfile.is_zipfile(path)
    return False


def leave_launcher_out() -> None:
    """Take what the interpreter put before `sys.path` for this library's own command: no script would see it.

    Where the library was found there alone, its folder goes to the end: worker processes import it too.
    """
    if not _is_path_safe():
        del sys.path[0]
    name = os.path.basename(_PACKAGE)
    if not any(finder.find_spec(name, None) for finder in sys.meta_path):
        sys.path.append(os.path.dirname(_PACKAGE))


def show(error: BaseException) -> None:
    """Print what Python prints of an exception that a script raised: its traceback begins where the script does."""
    inner = error.__traceback__
    while inner is not None and _is_launcher(inner.tb_frame.f_code.co_filename):
        inner = inner.tb_next
    error = error.with_traceback(inner)  # which the hook looks at, rather than at its argument
    sys.last_type, sys.last_value, sys.last_traceback = type(error), error, error.__traceback__
    try:
        sys.excepthook(type(error), error, error.__traceback__)
    except SystemExit:
        raise
    except BaseException as failed:  # noqa: BLE001 - shown as Python shows it
        last: BaseException = failed
        while last.__context__ not in (None, error):
            last = last.__context__
        last.__context__ = None
        sys.stderr.write("Error in sys.excepthook:\n")
        inner = failed.__traceback__ and failed.__traceback__.tb_next
        sys.__excepthook__(type(failed), failed.with_traceback(inner), inner)
        sys.stderr.write("\nOriginal exception was:\n")
        sys.__excepthook__(type(error), error, error.__traceback__)


def _is_launcher(filename: str) -> bool:
    runpy = sys.modules.get("runpy")
    return filename.startswith((_PACKAGE + os.sep, "<frozen runpy>")) or filename == getattr(runpy, "__file__", None)


def _code_and_main(spec: importlib.machinery.ModuleSpec | None, missing: str) -> tuple[CodeType, ModuleType]:
    get_code = getattr(spec and spec.loader, "get_code", None)  # a zipimporter is no InspectLoader, and has it
    code = get_code(spec.name) if spec is not None and get_code is not None else None
    if spec is None or code is None:
        raise NotRunnableError(missing)
    main = ModuleType("__main__")
    main.__spec__ = spec  # by its name worker processes import the module again
    main.__loader__ = spec.loader
    main.__package__ = spec.parent
    main.__file__ = spec.origin
    main.__dict__["__cached__"] = spec.cached
    return code, main


def _run(code: CodeType, main: ModuleType) -> None:
    main.__dict__["__builtins__"] = builtins  # exec() alone would put the dictionary there
    if sys.version_info < (3, 14):
        main.__annotations__ = {}
    sys.modules["__main__"] = main
    exec(code, main.__dict__)


def _look_first_in(folder: str) -> None:
    if not _is_path_safe():
        sys.path.insert(0, folder)
        if "torch" not in sys.modules:  # else Python's modules are in use, and far from as a script finds them
            _forget_shadowed(folder)


def _forget_shadowed(folder: str) -> None:
    """Forget the modules that this library has imported, and for which a script has a file of its own beside it."""
    for name, module in list(sys.modules.items()):
        if "." in name or name[0] == "_" or name in (*sys.builtin_module_names, *_AT_START, os.path.basename(_PACKAGE)):
            continue
        spec = importlib.machinery.PathFinder.find_spec(name, [folder])
        if spec is not None and spec.loader is not None and spec.origin != getattr(module, "__file__", None):
            for other in [one for one in sys.modules if one == name or one.startswith(f"{name}.")]:
                del sys.modules[other]


def _is_path_safe() -> bool:
    """Return whether Python was told to put nothing before `sys.path` (-P, -I); before 3.11 there is only -I."""
    return bool(getattr(sys.flags, "safe_path", sys.flags.isolated))
