"""
Which score, and next to what
=============================

Most people speak neutrally most of the time. On such labels a constant looks good in some scores
and bad in others, and so does a bold model that is right more often where it matters.
"""

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt

from sklearn_speechsent.datasets import LabelDistributionDisplay
from sklearn_speechsent.metrics import ordinal_report

# %%
# Labels as in CMU-MOSEI: seven levels, a third of them 0. Three predictors: the constant, one that
# dares little, and one that dares as much as the labels do.
rng = np.random.default_rng(0)
counts = np.array([311, 1305, 2039, 6798, 4117, 1549, 207])
truth = rng.choice(np.arange(-3, 4), size=2000, p=counts / counts.sum())
heard = 0.5 * truth + rng.normal(scale=0.8, size=truth.size)
predictors = {"always 0": np.zeros(truth.size), "timid": 0.5 * heard, "bold": 1.4 * heard}

reports = {name: ordinal_report(truth, values) for name, values in predictors.items()}
table = pd.DataFrame(reports).T.round(2)
table

# %%
# Scores of the table, from 0 to 1 and better upwards: threshold accuracy hardly tells a constant
# from a model; macro MAE and kappa do.
figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained", width_ratios=[2, 3])
for name, values in predictors.items():
    axes[0].hist(values, bins=np.linspace(-4, 4, 33), histtype="stepfilled", alpha=0.5, label=name)
axes[0].set(title="Predictions", xlabel="intensity", yscale="log")
axes[0].legend()
shown = table.assign(macro_mae=1 - table["macro_mae"] / 3, mae=1 - table["mae"] / 3)
columns = ["threshold_accuracy", "within_one", "accuracy", "mae", "macro_mae", "qwk", "ccc"]
shown[columns].rename(columns={"mae": "1 - mae/3", "macro_mae": "1 - macro_mae/3"}).T.plot.barh(
    ax=axes[1], width=0.75, title="Scores"
)
axes[1].invert_yaxis()

# %%
# A network can be shown all levels equally often (``sampling_exponent=1``):
LabelDistributionDisplay.from_labels(truth)
plt.show()
