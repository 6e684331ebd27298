"""Models by their published numbers, so that no catalogue or file is needed."""

from __future__ import annotations

from tutor_agent.core.facts import (
    Accelerator,
    Column,
    DataFacts,
    Experts,
    LatentAttention,
    Lengths,
    Machine,
    ModelFacts,
    Parameters,
    Shape,
)

SMOLLM2 = ModelFacts(
    name="HuggingFaceTB/SmolLM2-135M-Instruct",
    source="HuggingFaceTB/SmolLM2-135M-Instruct",
    model_type="llama",
    shape=Shape(
        layers=30,
        hidden=576,
        heads=9,
        kv_heads=3,
        head_dim=64,
        intermediate=1536,
        vocab=49152,
        tied=True,
        max_positions=8192,
    ),
    parameters=Parameters(total=134_515_008, active=134_515_008, embedding=28_311_552),
)
DEEPSEEK_7B = ModelFacts(
    name="deepseek-ai/deepseek-llm-7b-base",
    source="deepseek-ai/deepseek-llm-7b-base",
    model_type="llama",
    shape=Shape(
        layers=30,
        hidden=4096,
        heads=32,
        kv_heads=32,
        head_dim=128,
        intermediate=11008,
        vocab=102400,
        max_positions=4096,
    ),
    parameters=Parameters(total=6_910_365_696, active=6_910_365_696, embedding=419_430_400),
)
QWEN_7B = ModelFacts(
    name="Qwen/Qwen2.5-7B-Instruct",
    source="Qwen/Qwen2.5-7B-Instruct",
    model_type="qwen2",
    shape=Shape(
        layers=28,
        hidden=3584,
        heads=28,
        kv_heads=4,
        head_dim=128,
        intermediate=18944,
        vocab=152064,
        max_positions=131072,
    ),
    parameters=Parameters(total=7_615_616_512, active=7_615_616_512, embedding=544_997_376),
)
QWEN_HALF_B = ModelFacts(
    name="Qwen/Qwen2.5-0.5B",
    source="Qwen/Qwen2.5-0.5B",
    model_type="qwen2",
    shape=Shape(
        layers=24,
        hidden=896,
        heads=14,
        kv_heads=2,
        head_dim=64,
        intermediate=4864,
        vocab=151936,
        tied=True,
        max_positions=32768,
    ),
    parameters=Parameters(total=494_032_768, active=494_032_768, embedding=136_134_656),
)
V2_LITE = ModelFacts(
    name="deepseek-ai/DeepSeek-V2-Lite",
    source="deepseek-ai/DeepSeek-V2-Lite",
    model_type="deepseek_v2",
    shape=Shape(
        layers=27,
        hidden=2048,
        heads=16,
        kv_heads=16,
        head_dim=192,
        intermediate=10944,
        vocab=102400,
        max_positions=163840,
        experts=Experts(routed=64, active=6, shared=2, intermediate=1408, first_dense_layers=1),
        latent=LatentAttention(q_rank=None, kv_rank=512, nope_dim=128, rope_dim=64, v_dim=128),
    ),
    parameters=Parameters(total=15_706_484_224, active=2_661_150_208, embedding=209_715_200),
)
LLAMA_70B = ModelFacts(
    name="meta-llama/Llama-3.1-70B-Instruct",
    source="meta-llama/Llama-3.1-70B-Instruct",
    model_type="llama",
    shape=Shape(
        layers=80,
        hidden=8192,
        heads=64,
        kv_heads=8,
        head_dim=128,
        intermediate=28672,
        vocab=128256,
        max_positions=131072,
    ),
    parameters=Parameters(total=70_553_706_496, active=70_553_706_496, embedding=1_050_673_152),
)


def cards(count: int, name: str, memory_gib: float, tflops: float, *, bf16: bool = True) -> Machine:
    """Return a server with `count` equal cards."""
    card = Accelerator(name=name, memory_gib=memory_gib, tflops=tflops, bf16=bf16)
    return Machine(
        accelerators=(card,) * count,
        cores=64,
        ram_gib=1024,
        free_ram_gib=1000,
        free_disk_gib=4000,
        link="nvlink" if count > 1 else "none",
    )


LAPTOP = Machine(cpu="laptop", cores=8, ram_gib=16, free_ram_gib=11, free_disk_gib=100, link="none")
TWO_CORES = Machine(cores=2, ram_gib=24, free_ram_gib=22, free_disk_gib=100, link="none")
T4 = cards(1, "NVIDIA T4", 15, 65, bf16=False)
RTX_3090 = cards(1, "NVIDIA GeForce RTX 3090", 24, 71)
FOUR_A100 = cards(4, "NVIDIA A100-SXM4-80GB", 80, 312)
EIGHT_H100 = cards(8, "NVIDIA H100-SXM5-80GB", 80, 989)


def questions(rows: int, p50: int = 80, p95: int = 200, longest: int = 400) -> DataFacts:
    """Return facts of a file with questions and answers."""
    return DataFacts(
        path="/data/support bot.csv",
        container="csv",
        format="pairs",
        task="qa",
        rows=rows,
        columns=(Column(name="question", longest=900), Column(name="answer", longest=700)),
        roles={"prompt": "question", "completion": "answer"},
        lengths=Lengths(p50=p50, p95=p95, longest=longest, total=round(1.15 * p50 * rows)),
    )


def texts(rows: int, p50: int = 400, p95: int = 900, longest: int = 2500) -> DataFacts:
    """Return facts of a file with plain texts."""
    return DataFacts(
        path="/data/law.jsonl",
        container="jsonl",
        format="text",
        task="pretraining",
        rows=rows,
        columns=(Column(name="text", longest=9000),),
        roles={"text": "text"},
        lengths=Lengths(
            p50=p50, p95=p95, longest=longest, total=round(1.15 * p50 * rows), exact=True
        ),
    )
