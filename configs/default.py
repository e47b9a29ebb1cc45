"""Every setting with its default; the other configs change a few of them.

Not meant to be run by itself: it names no data set. A key that is not in this
file is unknown, and an unknown key is an error.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  """Returns the defaults, the paper's values where the paper gives one."""
  c = ml_collections.ConfigDict()
  c.seed = 0

  c.data = d = ml_collections.ConfigDict()
  d.builder = ""  # folder of tfds_builders/: deepscores, muscima_pp
  d.builder_config = ""  # "" = the builder's first
  d.manual_dir = ""  # folder with the original files
  d.data_dir = ""  # prepared records; "" = WORKDIR/data
  d.train_split = "train"
  d.eval_split = "val"  # watched during the training
  d.test_split = "test"  # evaluated once at the end, never tuned on
  # Generated pages: written to `manual_dir` ("" = WORKDIR/data/engraved) before
  # the records are built. pages = 0: no generation.
  d.engrave = ml_collections.ConfigDict()
  d.engrave.pages = 0
  d.engrave.seed = 0
  d.engrave.workers = 0  # 0 = one for every core
  d.crop_hw = (480, 480)  # height, width in px after scaling
  d.scales = (0.5,)  # one is drawn for each training crop
  d.eval_scale = 0.5
  d.flip = False  # horizontal; wrong for most music symbols
  d.min_visible = 0.4  # a box cut by the crop stays if this much area does
  d.max_boxes = 512  # padded boxes of a training crop
  d.nonempty_prob = 0.9  # crops drawn around a symbol instead of anywhere
  d.rare_prob = 0.0  # crops drawn around a symbol of a class drawn by rarity
  # P(class) ~ count ** (1 - rare_power): 0 = as frequent as its objects are,
  # 1 = every class alike.
  d.rare_power = 0.5
  d.page_multiple = 64  # whole pages are padded to multiples of this, px
  d.workers = 0  # worker processes of the loader; 0 = in the main process
  d.cache_mb = 1024  # decoded pages kept in memory, for each worker process
  # Class names whose boxes are left out of training and truth alike, for
  # example objects that are larger than any crop (staffLine).
  d.leave_out = ()
  d.max_pages = 0  # evaluate only the first pages; 0 = all

  c.groups = ml_collections.ConfigDict()
  c.groups.num = 1  # energy groups; 1 = the paper
  c.groups.by_class = ()  # ((class name, group), ...) overrides the automatic

  c.targets = t = ml_collections.ConfigDict()
  t.num_energy_levels = 20
  t.energy_disc = "fixed"  # fixed: energy_disc_px; box: 0.8 x the box
  t.energy_disc_px = 17
  t.disc_center = "exact"  # exact; rounded (the paper): up to 1 px away
  t.energy_shape = "oval"  # oval, square
  t.energy_profile = "linear"  # linear, root, quadratic
  t.class_disc_px = 9
  t.class_overlap = "last"  # last (the paper), nearest
  t.size_disc_px = 9
  t.energy_strides = (1, 8, 16)
  t.size_strides = (1, 8)
  t.stride_reduction = "mean"  # mean, min

  c.model = m = ml_collections.ConfigDict()
  m.backbone_depth = 101  # 18, 34, 50, 101, 152
  m.backbone_width = 64  # channels of the first stage
  m.filters = 256  # channels of RefineNet
  m.class_hidden = 0  # units of a hidden layer in the class head
  m.decoder_norm = False  # batch norm in RefineNet; faster from scratch
  m.separate_decoders = False  # one RefineNet for each head
  m.dtype = "auto"  # auto: bfloat16 on GPU and TPU, float32 on CPU

  c.losses = lo = ml_collections.ConfigDict()
  lo.energy_focal_gamma = 0.0
  lo.class_focal_gamma = 0.0
  lo.energy_smoothing = 0.0  # levels; a Gaussian target around the true level
  lo.size_loss = "mse"  # mse (the paper), smooth_l1, log_l1
  lo.energy_weights = "none"  # none, balanced (foreground and background)
  lo.class_weights = "none"  # none, by_class, by_object
  lo.class_pixels = 4096  # budget of foreground pixels of the class loss

  c.optimizer = o = ml_collections.ConfigDict()
  o.name = "rmsprop"  # rmsprop, adam, sgd
  o.learning_rate = 5e-5
  o.schedule = "constant"  # constant, cosine
  o.warmup_steps = 0
  o.l2 = 5e-7  # on kernels, added to the gradient
  o.weight_decay = 0.0  # of kernels, decoupled (AdamW)
  o.clip_norm = 0.0  # 0 = no clipping
  o.rmsprop_decay = 0.995
  o.momentum = 0.9  # of sgd

  # The paper's recipe. `factors` weigh the losses of a stage; with balance,
  # each loss is first divided by its mean over the last 5 steps.
  c.stages = tuple(
    ml_collections.ConfigDict(
      {
        "name": name,
        "steps": steps,
        "losses": losses,
        "factors": factors,
        "balance": balance,
        "reset_optimizer": True,
        "frozen": (),  # patterns of parameter paths
        "learning_rate": 0.0,  # 0 = the optimizer's
      }
    )
    for name, steps, losses, factors, balance in (
      ("energy", 20000, ("energy",), (1.0,), False),
      ("class", 20000, ("class",), (1.0,), False),
      ("box", 20000, ("box",), (1.0,), False),
      ("energy_again", 10000, ("energy",), (1.0,), False),
      ("combined", 30000, ("energy", "class", "box"), (2.0, 1.0, 1.0), True),
    )
  )

  c.train = tr = ml_collections.ConfigDict()
  tr.batch_size = 1  # over all devices
  tr.log_every = 50  # steps
  tr.checkpoint_every = 1000  # steps
  tr.keep_checkpoints = 3
  tr.eval_every = 0  # steps; 0 = only at the end
  tr.loss_window = 5  # steps of the running means
  tr.batch_norm_momentum = 0.99
  tr.fsdp = 1  # devices over which parameters are sharded

  c.decode = e = ml_collections.ConfigDict()
  e.method = "watershed"  # watershed, threshold (the paper's)
  e.energy_cutoff = 10.0  # a level: pixels above it belong to a component
  e.min_area_px = 4
  e.min_seed_level = 10.0  # watershed: lowest peak that seeds a basin
  e.min_saddle_depth = 1.0  # watershed: levels of dip between two objects
  e.smooth = 0  # watershed: passes of a 3 x 3 filter before the peaks
  e.class_pixels = 9  # watershed: pixels around a peak that vote on its class
  e.max_detections = 2048  # slots K of a page
  e.size = "mean"  # mean, max (the paper's)
  e.legacy = False  # threshold exactly as the original, quirks included

  c.eval = ev = ml_collections.ConfigDict()
  ev.protocol = "coco"  # coco, voc, legacy
  ev.min_score = 0.05
  ev.overlays = 4  # pages drawn; 0 = none
  return c
