"""Our models in mteb's benchmarks, and MMEB's data sets as mteb's tasks. Needs the extra ``eval``."""

from llave.errors import UserError

try:
    import mteb as _mteb  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "mteb":
        raise
    raise UserError("mteb is not installed: pip install 'llave[eval]'") from None

from llave.evaluation.mteb.model import MTEBModel, mteb_model
from llave.evaluation.mteb.task import MMEBTask, mmeb_task, mmeb_tasks

__all__ = ["MMEBTask", "MTEBModel", "mmeb_task", "mmeb_tasks", "mteb_model"]
