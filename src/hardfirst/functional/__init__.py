"""The equations as pure functions of tensors: elementwise, or on a vector with one entry per task."""

from hardfirst.functional._examples import class_weight, focal, regression_focal_loss, sigmoid_focal_loss, softmax_focal_loss
from hardfirst.functional._gradient_balancing import graddrop, gradnorm_target, nash
from hardfirst.functional._kpi_weights import achievement, focal_weight, focal_weights, log_focal_weight, moving_average
from hardfirst.functional._loss_balancing import (
    geometric,
    imtl_l,
    present_logs,
    self_paced_weight,
    stch,
    stch_logits,
    uncertainty,
    uw_so,
)

__all__ = [
    "achievement",
    "class_weight",
    "focal",
    "focal_weight",
    "focal_weights",
    "geometric",
    "graddrop",
    "gradnorm_target",
    "imtl_l",
    "log_focal_weight",
    "moving_average",
    "nash",
    "present_logs",
    "regression_focal_loss",
    "self_paced_weight",
    "sigmoid_focal_loss",
    "softmax_focal_loss",
    "stch",
    "stch_logits",
    "uncertainty",
    "uw_so",
]
