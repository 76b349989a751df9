"""From checkpoint and faces to what results/ stores: answers, cost, robustness, facts of the data.

Sits above `inference` and `evaluation`, which do not know each other. `score.Scorer` is what the scripts call.
"""
