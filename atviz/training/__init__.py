"""How networks are trained: recipes, the training loop, plans, and fine-tuning of fused networks."""

from . import recipes
from .cards import TRAININGS, card_table, history, trained_as
from .fusion import JOINS, Fusion, recolored
from .loop import CatastrophicOverfitting, describe, fit, make_fabric, versions
from .plan import Plan
from .profiles import FASHION_EPS, PROFILES, Profile, default_models, eval_eps, profile
from .recipes import Recipe, eps_text
from .task import EFFORTS, Task, backbones, task
from .trainer import Trainer, best_device, drawn, untrained
from .transfer import COMBINATIONS, RECIPE, Cells, Tuned, transfer

__all__ = [
    "COMBINATIONS", "EFFORTS", "FASHION_EPS", "JOINS", "PROFILES", "RECIPE", "TRAININGS", "CatastrophicOverfitting", "Cells", "Fusion",
    "Plan", "Profile", "Recipe", "Task", "Trainer", "Tuned", "backbones", "best_device", "card_table", "default_models", "describe",
    "drawn", "eps_text", "eval_eps", "fit", "history", "make_fabric", "profile", "recipes", "recolored", "task",
    "trained_as", "transfer", "untrained", "versions",
]  # fmt: skip
