"""What a notebook opens: settings, the study and the page that they describe, figures and panels."""

from .page import Page
from .settings import Settings
from .study import open_page, open_study, reruns, study_of

__all__ = ["Page", "Settings", "open_page", "open_study", "reruns", "study_of"]
