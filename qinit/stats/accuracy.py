"""What quantisation does to a classifier: pure functions of its logits.

Logits are [N, classes], labels [N]; "float" and "quantised" name the network
before and after. Accuracies are in percent.
"""

import math

import numpy as np


def accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
  """Percentage of rows whose largest logit is the label's; of equal logits
  the first counts."""
  return 100.0 * float(np.mean(np.argmax(logits, axis=-1) == labels))


def top_accuracy(logits: np.ndarray, labels: np.ndarray, k: int) -> float:
  """Percentage of rows whose label is among the k largest logits; of equal
  logits the first count."""
  best = np.argsort(-logits, axis=-1, kind="stable")[:, :k]
  return 100.0 * float(np.mean((best == labels[:, None]).any(-1)))


def accuracy_decrease(
  float_accuracy: float, quantised_accuracy: float
) -> float:
  """Percent accuracy decrease, 100 (a_float - a_quantised) / a_float; NaN
  where the float network is never right (Section 3.1)."""
  if not float_accuracy:
    return math.nan
  return 100.0 * (float_accuracy - quantised_accuracy) / float_accuracy


def qmse(float_logits: np.ndarray, quantised_logits: np.ndarray) -> float:
  """Mean over images and classes of (z_float - z_quantised)^2 (Section 3.1).

  The paper says "network outputs"; logits are taken here.
  """
  difference = np.float64(float_logits) - np.float64(quantised_logits)
  return float(np.mean(difference**2))


def qce(float_logits: np.ndarray, quantised_logits: np.ndarray) -> float:
  """Mean over images of -sum_c softmax(z_float)_c log softmax(z_quantised)_c.

  In nats. Its floor is the entropy of the float network, not 0: see `kl`.
  """
  p, log_q = np.exp(_log_softmax(float_logits)), _log_softmax(quantised_logits)
  return -float(np.mean(np.sum(p * log_q, axis=-1)))


def kl(float_logits: np.ndarray, quantised_logits: np.ndarray) -> float:
  """Mean Kullback-Leibler divergence KL(float || quantised) in nats: QCE less
  the entropy of the float network, 0 where nothing was lost."""
  log_p, log_q = _log_softmax(float_logits), _log_softmax(quantised_logits)
  return float(np.mean(np.sum(np.exp(log_p) * (log_p - log_q), axis=-1)))


def _log_softmax(logits):
  # Subtracting the largest logit leaves the softmax as it is and keeps exp
  # from overflowing.
  logits = np.float64(logits)
  logits = logits - logits.max(axis=-1, keepdims=True)
  return logits - np.log(np.sum(np.exp(logits), axis=-1, keepdims=True))
