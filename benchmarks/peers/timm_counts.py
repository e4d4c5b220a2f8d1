"""Tie our counts to torch's own counters on models of timm.

    .venv-models/bin/python benchmarks/peers/timm_counts.py (see README.md beside this file)

Every family of timm with one or more of its small models, batch 1, random weights: nothing is
downloaded. Multiply-accumulates must equal FlopCounterMode's on real tensors but for operators that
it has no formula for, which are named; the peak must equal MemTracker's. The exit status is 1 where
a row differs.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Iterator
from pathlib import Path

import timm
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from against_torch import HEADER, Row, compare_all, line

MODELS = """
vit_tiny_patch16_224 vit_base_patch32_clip_quickgelu_224 vit_base_patch16_siglip_224 flexivit_small
vit_base_patch16_xp_224 vit_medium_patch16_gap_240 vit_small_patch14_reg4_dinov2 bat_resnext26ts
eca_resnet33ts gcresnext26ts gernet_s mobileone_s0 regnetz_b16 repvgg_a0 resnet50_clip resnet51q
beit_base_patch16_224 beitv2_base_patch16_224 botnet26t_256 eca_halonext26ts halonet26t
lambda_resnet26t sebotnet33ts_256 haloregnetz_b caformer_s18 convformer_s18 poolformer_s12
poolformerv2_s12 cait_xxs24_224 coat_tiny coat_lite_tiny coatnet_nano_rw_224
coatnet_rmlp_nano_rw_224 coatnext_nano_rw_224 maxvit_pico_rw_256 maxvit_rmlp_pico_rw_256
maxxvit_rmlp_nano_rw_256 maxxvitv2_nano_rw_256 maxvit_tiny_tf_224 convit_tiny convmixer_768_32
convnext_atto convnext_zepto_rms convnextv2_atto convnext_tiny_hnf cpubone_nano cpubone_b0_bfrobust
crossvit_9_dagger_240 crossvit_tiny_240 cs3darknet_focus_s cspresnext50 darknet17 cs3sedarknet_xdw
csatv2 cspnext_tiny davit_tiny deepseek_vit_412m deit_tiny_patch16_224
deit_tiny_distilled_patch16_224 deit3_small_patch16_224 densenet121 densenetblur121d dla34
dla60_res2next dla46x_c nf_regnet_b0 eca_nfnet_l0 nf_seresnet26 dpn48b dpn68b ese_vovnet19b_slim_dw
ese_vovnet39b_evos resnet10t ecaresnet26t edgenext_xx_small edgenext_small_rw efficientformer_l1
efficientformerv2_s0 efficientnet_b0 efficientnet_b0_gn efficientvim_m1 efficientvit_b0
efficientvit_l1 efficientvit_m0 efficientvit_m5 eva02_tiny_patch14_224 vit_small_patch16_rope_224
fasternet_t0 fastvit_t8 fastvit_sa12 fbnetv3_b lcnet_050 focalnet_tiny_srf gcvit_xxtiny
gemma4_vit_167m ghostnet_050 ghostnetv2_100 gmixer_12_224 gmlp_ti16_224 hardcorenas_a hgnet_tiny
hgnetv2_b0 hiera_tiny_224 hieradet_small sam2_hiera_tiny hrnet_w18_small iformer_t
inception_next_atto inception_resnet_v2 inception_v3 inception_v4 lcnetv2_small legacy_seresnet18
legacy_seresnext26_32x4d legacy_xception levit_128s levit_conv_128s lowformer_b0 mambaout_femto
mobilenetv5_300m mobilevit_xxs mobilevitv2_050 mvitv2_tiny naflexvit_base_patch16_gap nasnetalarge
nest_tiny nextvit_small pit_ti_224 pnasnet5large pvt_v2_b0 qwen3_vit_88m rdnet_tiny regnetx_002
repghostnet_050 repvit_m1 res2net50_14w_8s resnest14d resnetv2_18 rexnet_100
samvit_base_patch16_224 selecsls42 sequencer2d_s shvit_s1 skresnet18 starnet_s1 swiftformer_xs
swin_tiny_patch4_window7_224 swinv2_tiny_window8_256 swinv2_cr_tiny_ns_224
vit_relpos_small_patch16_224 tiny_vit_5m_224 tnt_s_patch16_224 tresnet_m twins_pcpvt_small vgg11
visformer_tiny vit_tiny_r_s16_p8_224 vitamin_small_224 volo_d1_224 xception41 xcit_nano_12_p16_224
"""
"""Names in timm; each module of it that has models is there at least once."""


def rows(names: list[str]) -> Iterator[Row]:
    """Each model with its family, timm's module, at its own size, or 224 pixels where that is large
    and not the only one."""
    for name in names:
        setting = timm.get_pretrained_cfg(name)
        native = max(setting.input_size)
        size = native if native <= 288 or setting.fixed_input_size else 224
        yield name, _family(name), size, functools.partial(_built, name)


def _family(name: str) -> str:
    return str(timm.model_entrypoint(name).__module__).rpartition(".")[2]


def _built(name: str) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    model: nn.Module = timm.create_model(name, pretrained=False)
    return model, model


def main() -> int:
    """Print every row; 1 where one differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=MODELS.split(), metavar="NAME")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="JSON lines to go on from")
    arguments = parser.parse_args()
    print(f"timm {timm.__version__}, torch {torch.__version__}\n{HEADER}")
    found = []
    for row in compare_all(rows(arguments.models), arguments.keep):
        found.append(row)
        print(line(row), flush=True)
    held = [row for row in found if not row.faults]
    families = {row.family for row in held}
    print(f"{len(held)} of {len(found)} hold, of {len(families)} families")
    return 0 if held == found else 1


if __name__ == "__main__":
    raise SystemExit(main())
