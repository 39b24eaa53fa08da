"""Who acts and how it learns: scripted policies, Qwen2.5-VL, sampler, losses."""
