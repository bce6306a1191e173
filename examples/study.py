"""How long can the positive phase last before a network stops learning? The study's experiment in a few lines.

Run it twice: the second time, every accuracy comes from the database. It draws `study.png` in the current folder.
"""

import matplotlib.pyplot as plt

import ffcli

PHASES = [1, 2, 4, 8, 16]
SETTINGS = {"dataset": "mnist", "data": "sample", "hidden": [100, 100], "epochs": 3, "tag": "example"}
# The study's own settings: SETTINGS = {"dataset": "mnist", "preset": "paper", "tag": "study"}

figure, axis = plt.subplots()
for neg in ("label", "masks"):
    trained = [ffcli.train(neg=neg, pos_phase=phase, **SETTINGS) for phase in PHASES]
    accuracies = [run.final_accuracy for run in trained]
    print(f"{neg:6}", *(f"{phase}:1 {accuracy:.1f} %" for phase, accuracy in zip(PHASES, accuracies, strict=True)))
    axis.plot(PHASES, accuracies, marker="o", label=neg)
axis.set(xlabel="positive phase (hours)", ylabel="test accuracy (%)", xscale="log")
axis.legend(title="negatives")
figure.savefig("study.png")

best = ffcli.load(ffcli.runs(tag=SETTINGS["tag"], sort="final")[0].id)
print(best)
for layer in best.evaluate().layers:
    print(f"layer {layer.layer}: {layer.alone:.1f} % alone, {layer.cumulated:.1f} % with those below")
