"""Checkpoints: scanned before anything is loaded, then loaded as a denoiser. The only importer of diffusers.

The environment is set here, before diffusers can be imported from this package: no code and no file from outside.
"""

import os

os.environ["DIFFUSERS_DISABLE_REMOTE_CODE"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
