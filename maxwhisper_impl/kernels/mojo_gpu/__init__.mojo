"""Whisper's products and attention for GPUs, in float32."""
