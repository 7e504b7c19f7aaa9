"""What a checkpoint may name: classes of diffusers and transformers that are opened here, and file types read."""

from __future__ import annotations

TEXT_PIPELINES = frozenset(
    {
        "FluxPipeline",
        "PixArtAlphaPipeline",
        "PixArtSigmaPipeline",
        "SanaPipeline",
        "StableDiffusion3Pipeline",
        "StableDiffusionPipeline",
        "StableDiffusionXLPipeline",
    }
)
PIPELINES = TEXT_PIPELINES | {
    "DDPMPipeline", "DDIMPipeline", "PNDMPipeline", "ScoreSdeVePipeline", "DiTPipeline", "LDMPipeline",
}  # fmt: skip
NETWORKS = frozenset(
    {
        "DiTTransformer2DModel",
        "FluxTransformer2DModel",
        "PixArtTransformer2DModel",
        "SD3Transformer2DModel",
        "SanaTransformer2DModel",
        "Transformer2DModel",
        "UNet2DConditionModel",
        "UNet2DModel",
    }
)
AUTOENCODERS = frozenset({"AutoencoderDC", "AutoencoderKL", "VQModel"})
VP_SCHEDULERS = frozenset(
    {
        "DDIMInverseScheduler",
        "DDIMParallelScheduler",
        "DDIMScheduler",
        "DDPMParallelScheduler",
        "DDPMScheduler",
        "DEISMultistepScheduler",
        "DPMSolverMultistepScheduler",
        "DPMSolverSinglestepScheduler",
        "EulerAncestralDiscreteScheduler",
        "EulerDiscreteScheduler",
        "HeunDiscreteScheduler",
        "KDPM2AncestralDiscreteScheduler",
        "KDPM2DiscreteScheduler",
        "LMSDiscreteScheduler",
        "PNDMScheduler",
        "UniPCMultistepScheduler",
    }
)
VE_SCHEDULERS = frozenset({"ScoreSdeVeScheduler"})
FLOW_SCHEDULERS = frozenset({"FlowMatchEulerDiscreteScheduler"})  # and solvers of VP_SCHEDULERS with use_flow_sigmas
# Safe to open, but their noise schedules are not read here: loading ends with a CheckpointError, not a refusal.
OTHER_SCHEDULERS = FLOW_SCHEDULERS | {"EDMDPMSolverMultistepScheduler", "EDMEulerScheduler"}
TEXT_ENCODERS = frozenset({"CLIPTextModel", "CLIPTextModelWithProjection", "Gemma2Model", "T5EncoderModel"})
TOKENIZERS = frozenset(
    {"CLIPTokenizer", "CLIPTokenizerFast", "GemmaTokenizer", "GemmaTokenizerFast", "T5Tokenizer", "T5TokenizerFast"}
)
CLASSES = {
    "diffusers": NETWORKS | AUTOENCODERS | VP_SCHEDULERS | VE_SCHEDULERS | OTHER_SCHEDULERS,
    "transformers": TEXT_ENCODERS | TOKENIZERS,
}
# Beside what makes images: never opened, so that it may be of any class, or have no files.
NEVER_LOADED = frozenset({"safety_checker", "feature_extractor", "image_encoder"})

REMOTE_CODE_KEYS = frozenset({"auto_map", "custom_pipeline", "custom_pipelines", "trust_remote_code"})
# By these a configuration of transformers may ask for kernels that are fetched from the hub, or compiled.
ATTENTION_KEYS = frozenset({"attn_implementation", "_attn_implementation"})
ATTENTIONS = (None, "eager", "sdpa")  # torch's own

PICKLE_SUFFIXES = frozenset({".bin", ".ckpt", ".dill", ".joblib", ".pickle", ".pkl", ".pt", ".pth", ".pt2", ".th"})
CODE_SUFFIXES = frozenset(
    {".bat", ".cmd", ".dll", ".dylib", ".exe", ".jar", ".ps1", ".py", ".pyc", ".pyd", ".pyo", ".pyw", ".sh", ".so"}
)
SKIPPED_FOLDERS = frozenset({".git", ".cache"})  # version control and download bookkeeping; never loaded from

# Globals that a pickle of plain tensors needs; anything else could run code.
PICKLE_GLOBALS = frozenset(
    {
        "collections OrderedDict",
        "numpy dtype",
        "numpy ndarray",
        "numpy.core.multiarray _reconstruct",
        "numpy.core.multiarray scalar",
        "numpy._core.multiarray _reconstruct",
        "numpy._core.multiarray scalar",
        "torch Size",
        "torch._utils _rebuild_parameter",
        "torch._utils _rebuild_tensor",
        "torch._utils _rebuild_tensor_v2",
        "torch.nn.parameter Parameter",
        "torch.storage UntypedStorage",
        *(f"torch {kind}Storage" for kind in ("BFloat16", "Bool", "Byte", "Char", "Double", "Float")),
        *(f"torch {kind}Storage" for kind in ("Half", "Int", "Long", "Short")),
    }
)
