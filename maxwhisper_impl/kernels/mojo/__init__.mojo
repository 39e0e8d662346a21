"""Whisper's layers as CPU kernels: every op that `kernels/fused.py` stages."""
