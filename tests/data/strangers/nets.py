"""Five detector-ish nets for checking a profiler.  Images: (1, 3, 96, 96).
Hand counts: parameters (all nn.Parameters, no buffers) and MACs of convolutions and matrix products only
(norms, activations, softmax, grid_sample, interpolate, element-wise = 0).
conv MACs = Hout*Wout*Cout*(Cin/groups)*k*k; transposed conv = Hin*Win*Cin*(Cout/groups)*k*k; linear = rows*in*out."""
import math, torch, torch.nn.functional as F; from dataclasses import dataclass; from torch import nn
def cbr(i, o, k=3, s=1, g=1):
    return nn.Sequential(nn.Conv2d(i, o, k, s, k // 2, groups=g, bias=False), nn.BatchNorm2d(o), nn.SiLU())
class CatFPN(nn.Module):
    """Strided backbone, top-down concat FPN, ONE head shared by three levels, DFL decode by matmul."""
    def __init__(self, nc=5, reg=8):
        super().__init__()
        self.nc, self.reg = nc, reg
        self.stem, self.c3, self.c4, self.c5 = cbr(3, 16, 3, 4), cbr(16, 24, 3, 2), cbr(24, 32, 3, 2), cbr(32, 48, 3, 2)
        self.lat4, self.lat3, self.p5 = cbr(48 + 32, 32, 1), cbr(32 + 24, 32, 1), cbr(48, 32, 1)
        self.tower, self.pred = cbr(32, 32), nn.Conv2d(32, nc + 4 * reg, 1)
        self.scales = nn.ParameterList([nn.Parameter(torch.ones(())) for _ in range(3)])
        self.register_buffer("bins", torch.arange(reg, dtype=torch.float32))
    def forward(self, x):
        c3 = self.c3(self.stem(x)); c4 = self.c4(c3); c5 = self.c5(c4)
        p4 = self.lat4(torch.cat([F.interpolate(c5, size=c4.shape[-2:], mode="nearest"), c4], 1))
        p3 = self.lat3(torch.cat([F.interpolate(p4, scale_factor=2.0, mode="bilinear", align_corners=False), c3], 1))
        outs = []
        for f, s in zip((p3, p4, self.p5(c5)), self.scales):
            cls, box = self.pred(self.tower(f)).flatten(2).transpose(1, 2).split([self.nc, 4 * self.reg], -1)
            dist = box.unflatten(-1, (4, self.reg)).softmax(-1) @ self.bins
            outs.append(torch.cat([dist * s, cls.sigmoid()], -1))
        return torch.cat(outs, 1)
# params: stem 3*16*9+2*16=464; c3 16*24*9+48=3504; c4 24*32*9+64=6976; c5 32*48*9+96=13920; lat4 80*32+64=2624
#  lat3 56*32+64=1856; p5 48*32+64=1600; tower 32*32*9+64=9280; pred 32*37+37=1221; scales 3   => 41448
# MACs: stem 24^2*432=248832; c3 12^2*3456=497664; c4 6^2*6912=248832; c5 3^2*13824=124416; lat4 36*2560=92160
#  lat3 144*1792=258048; p5 9*1536=13824; head on 144+36+9=189 cells: 189*(9216+1184)=1965600; DFL matvec 189*4*8=6048 => 3455424
class WinBlock(nn.Module):
    """Shifted 4x4 windows cut with F.unfold, attention in einsum, relative bias table, fold back."""
    def __init__(self, d, heads, win=4, shift=0):
        super().__init__()
        self.h, self.w, self.s = heads, win, shift
        self.n1, self.n2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.wqkv = nn.Parameter(torch.randn(3, heads, d, d // heads) * d ** -0.5)
        self.wo = nn.Parameter(torch.randn(heads, d // heads, d) * d ** -0.5)
        self.rel = nn.Parameter(torch.zeros((2 * win - 1) ** 2, heads))
        yy, xx = torch.meshgrid(torch.arange(win), torch.arange(win), indexing="ij")
        p = torch.stack([yy.flatten(), xx.flatten()])
        r = p[:, :, None] - p[:, None] + win - 1
        self.register_buffer("idx", r[0] * (2 * win - 1) + r[1])
        self.mlp = nn.Sequential(nn.Linear(d, 2 * d), nn.GELU(), nn.Linear(2 * d, d))
    def forward(self, x):                                           # x: B,H,W,D
        B, H, W, D = x.shape
        y = torch.roll(self.n1(x), (-self.s, -self.s), (1, 2)).permute(0, 3, 1, 2)
        y = F.unfold(y, self.w, stride=self.w).view(B, D, self.w ** 2, -1).permute(0, 3, 2, 1)   # B,nW,16,D
        q, k, v = torch.einsum("bwnd,shdc->sbwhnc", y, self.wqkv)
        a = torch.einsum("bwhnc,bwhmc->bwhnm", q * q.shape[-1] ** -0.5, k) + self.rel[self.idx].permute(2, 0, 1)
        o = torch.einsum("bwhnm,bwhmc->bwhnc", a.softmax(-1), v)
        o = torch.einsum("bwhnc,hcd->bwnd", o, self.wo)
        o = F.fold(o.permute(0, 3, 2, 1).reshape(B, D * self.w ** 2, -1), (H, W), self.w, stride=self.w)
        x = x + torch.roll(o.permute(0, 2, 3, 1), (self.s, self.s), (1, 2))
        return x + self.mlp(self.n2(x))
class WinNet(nn.Module):
    def __init__(self, d=32):
        super().__init__()
        self.patch = nn.Conv2d(3, d, 6, 6)
        self.blocks = nn.ModuleList([WinBlock(d, 4, 4, s) for s in (0, 2)])
        self.merge, self.head = nn.Linear(4 * d, 2 * d, bias=False), nn.Linear(2 * d, 9)
    def forward(self, images):
        x = self.patch(images).permute(0, 2, 3, 1)
        for b in self.blocks: x = b(x)
        x = torch.cat([x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)], -1)
        z = self.head(F.gelu(self.merge(x)))
        return {"boxes": z[..., :4].sigmoid(), "logits": z[..., 4:]}
# params: patch 3*36*32+32=3488; block: LN 2*64=128, wqkv 3*32*32=3072, wo 1024, rel 49*4=196, mlp 32*64+64+64*32+32=4192
#  -> 8612, x2 = 17224; merge 128*64=8192; head 64*9+9=585   => 29489
# MACs: grid 16x16=256 tokens, 16 windows of 16, 4 heads of 8.  patch 256*3456=884736
#  block: qkv 256*3072=786432; QK 16win*4h*16*16*8=131072; AV same 131072; out 256*1024=262144; mlp 256*4096=1048576
#  -> 2359296, x2 = 4718592; merge 64*8192=524288; head 64*576=36864   => 6164480
class GRUCorr(nn.Module):
    """RAFT-like: shared encoder run on the image and its mirror, bmm correlation, one ConvGRU looped 4 times."""
    def __init__(self, c=24, hid=16, iters=4):
        super().__init__()
        self.iters, self.hid = iters, hid
        self.enc = nn.Sequential(nn.Conv2d(3, c, 7, 4, 3), nn.InstanceNorm2d(c), nn.ReLU(True), nn.Conv2d(c, c, 3, 2, 1))
        self.ctx = nn.Conv2d(144, hid * 2, 1)
        self.zr, self.q = nn.Conv2d(hid * 2 + 2, 2 * hid, 3, padding=1), nn.Conv2d(hid * 2 + 2, hid, (1, 5), padding=(0, 2))
        self.delta = nn.utils.parametrizations.weight_norm(nn.Conv2d(hid, 2, 3, padding=1))
    def forward(self, x):
        a, b = self.enc(torch.cat([x, x.flip(-1)])).chunk(2)          # one call, batch 2B
        B, C, H, W = a.shape
        corr = torch.bmm(a.flatten(2).transpose(1, 2), b.flatten(2)) / math.sqrt(C)              # B,HW,HW
        h, inp = self.ctx(corr.transpose(1, 2).reshape(B, H * W, H, W)).split(self.hid, 1)
        h, inp, flow, preds = torch.tanh(h), F.relu(inp), x.new_zeros(B, 2, H, W), []
        for _ in range(self.iters):
            flow = flow.detach()
            z, r = torch.sigmoid(self.zr(torch.cat([h, inp, flow], 1))).chunk(2, 1)
            h = (1 - z) * h + z * torch.tanh(self.q(torch.cat([r * h, inp, flow], 1)))
            flow = flow + self.delta(h); preds.append(flow)
        return tuple(preds)
# params: enc 3*24*49+24=3552, 24*24*9+24=5208; ctx 144*32+32=4640; zr 34*32*9+32=9824; q 34*16*5+16=2736
#  delta weight_norm: v 16*2*9=288, g 2, bias 2 = 292   => 26252
# MACs: enc x2 images: 2*(24^2*3528 + 12^2*5184)=2*(2032128+746496)=5557248; corr 144*144*24=497664; ctx 144*4608=663552
#  loop x4: 144*(9792+2720+288)=1843200, x4 = 7372800   => 14091264
class WSConv(nn.Conv2d):                                             # weight standardised in forward
    def forward(self, x):
        w = self.weight
        w = (w - w.mean((1, 2, 3), keepdim=True)) / (w.std((1, 2, 3), keepdim=True) + 1e-5)
        return F.conv2d(x, w, self.bias, self.stride, self.padding, self.dilation, self.groups)
class ShuffleUp(nn.Module):
    """WS grouped/depthwise/dilated convs, SE by F.linear, transposed conv, pixel shuffle, per-image dynamic kernels."""
    def __init__(self):
        super().__init__()
        self.stem, self.gn = WSConv(12, 32, 3, 2, 1, groups=4), nn.GroupNorm(8, 32)
        self.dw, self.pw = WSConv(32, 32, 5, padding=4, dilation=2, groups=32), WSConv(32, 64, 1)
        self.se = nn.Parameter(torch.randn(64, 64) * 0.1)
        self.up = nn.ConvTranspose2d(64, 32, 4, 2, 1, groups=2)
        self.ps, self.gen = nn.Conv2d(32, 32, 3, padding=1, bias=False), nn.Linear(64, 8 * 8 * 9)
    def forward(self, x):
        x = self.gn(self.stem(F.pixel_unshuffle(x, 2))).relu()        # 12x48x48 -> 32x24x24
        x = F.hardswish(self.pw(self.dw(x)))
        g = x.mean((2, 3))
        x = self.up(x * torch.sigmoid(F.linear(g, self.se))[..., None, None])                    # 32x48x48
        x = F.pixel_shuffle(self.ps(x), 2)                            # 8x96x96
        B, C, H, W = x.shape
        k = self.gen(g).view(B * C, C, 3, 3)
        return F.conv2d(x.reshape(1, B * C, H, W), k, padding=1, groups=B).view(B, C, H, W)
# params: stem 32*3*9+32=896; gn 64; dw 32*25+32=832; pw 32*64+64=2112; se 4096; up 64*16*16+32=16416; ps 32*32*9=9216
#  gen 64*576+576=37440   => 71072
# MACs: stem 24^2*864=497664; dw 576*800=460800; pw 576*2048=1179648; se 4096; up 576*64*16*16=9437184; ps 48^2*9216=21233664
#  gen 64*576=36864; dynamic conv 96^2*8*8*9=5308416   => 38158336
@dataclass
class Detections:
    logits: torch.Tensor; boxes: torch.Tensor; aux: dict
class QueryDet(nn.Module):
    """Top-k encoder tokens become queries; MHA self + cross attention; points read with grid_sample; tied heads."""
    def __init__(self, d=32, k=20, nc=7, layers=2, pts=4):
        super().__init__()
        self.k, self.pts = k, pts
        self.back = nn.Sequential(nn.Conv2d(3, 16, 3, 4, 1), nn.ReLU(), nn.Conv2d(16, d, 3, 2, 1))
        self.cls, self.box = nn.Linear(d, nc), nn.Sequential(nn.Linear(d, d), nn.ReLU(), nn.Linear(d, 4))
        self.sa = nn.ModuleList([nn.MultiheadAttention(d, 4, batch_first=True) for _ in range(layers)])
        self.ca = nn.ModuleList([nn.MultiheadAttention(d, 4, kdim=48, vdim=48, bias=False) for _ in range(layers)])
        self.off, self.wgt = nn.Linear(d, 2 * pts), nn.Linear(d, pts)   # shared by the layers
        self.norm, self.pe = nn.LayerNorm(d), nn.Parameter(torch.zeros(1, 144, 16))
    def forward(self, x):
        f = self.back(x)                                              # B,32,12,12
        t = f.flatten(2).transpose(1, 2)
        mem = torch.cat([t, self.pe.expand(t.shape[0], -1, -1)], -1).transpose(0, 1)             # 144,B,48
        enc = self.cls(t)
        idx = enc.amax(-1).topk(self.k, dim=1).indices
        q = t.gather(1, idx[..., None].expand(-1, -1, t.shape[-1]))
        boxes, aux = self.box(q).sigmoid(), []
        for sa, ca in zip(self.sa, self.ca):
            q = self.norm(q + sa(q, q, q, need_weights=False)[0])
            c, w = ca(q.transpose(0, 1), mem, mem)                    # need_weights=True, seq first
            q = self.norm(q + c.transpose(0, 1))
            loc = boxes[..., None, :2] * 2 - 1 + 0.1 * self.off(q).unflatten(-1, (self.pts, 2)).tanh()
            s = F.grid_sample(f, loc, align_corners=False)            # B,32,20,4
            q = q + torch.einsum("bcqp,bqp->bqc", s, self.wgt(q).softmax(-1))
            boxes = (torch.logit(boxes, eps=1e-4) + self.box(q)).sigmoid()
            aux.append({"boxes": boxes, "attn": w})
        return Detections(self.cls(q), boxes, {"enc": enc, "layers": aux})
# params: back 3*16*9+16=448, 16*32*9+32=4640; cls 32*7+7=231; box 32*32+32+32*4+4=1188; sa 96*32+96+32*32+32=4224, x2=8448
#  ca q 32*32, k 32*48, v 32*48, out 32*32 = 5120, x2=10240; off 32*8+8=264; wgt 32*4+4=132; norm 64; pe 144*16=2304 => 27959
# MACs: back 24^2*432+12^2*4608=912384; cls on 144+20 rows: 164*224=36736; box 3 calls: 3*20*(1024+128)=69120
#  layer: sa 20*4096 + QK,AV 2*20*20*32 = 107520; ca q,out 20*2048 + k,v 144*3072 + QK,AV 2*20*144*32 = 667648
#   off,wgt 20*(256+128)=7680; point sum 20*4*32=2560 (a bmm)  -> 785408, x2=1570816   => 2589056
def build_1(): return CatFPN().eval()
def build_2(): return WinNet().eval()
def build_3(): return GRUCorr().eval()
def build_4(): return ShuffleUp().eval()
def build_5(): return QueryDet().eval()
EXPECTED = {"build_1": (41448, 3455424), "build_2": (29489, 6164480), "build_3": (26252, 14091264),
            "build_4": (71072, 38158336), "build_5": (27959, 2589056)}
