"""What a source delivers is looked at once, before anything else: numbered, named, or left out."""

from forebay.acquisition.intake.anomalies import (
    Anomaly,
    AnomalyKind,
    AnomalyLog,
    AnomalyReports,
    CombinedLog,
)
from forebay.acquisition.intake.intake import Intake, Refused
from forebay.acquisition.intake.stall import StallWatch, stall_patience

__all__ = [
    "Anomaly",
    "AnomalyKind",
    "AnomalyLog",
    "AnomalyReports",
    "CombinedLog",
    "Intake",
    "Refused",
    "StallWatch",
    "stall_patience",
]
